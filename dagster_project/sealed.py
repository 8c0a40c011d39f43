"""Resources as a run sees them: as the environment set them, whatever the run's configuration says.

Who may launch a run, in the web page or through its API, writes that configuration. If it could set an
address or name an environment variable, it could send the key of one server to another.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import dagster as dg

from neuroscribe.secrets.addresses import hidden

Adapter: TypeAlias = dg.ConfigurableResource[Any] | dg.ConfigurableIOManagerFactory[Any]


def sealed(resources: Mapping[str, Adapter]) -> dict[str, dg.ResourceDefinition]:
    """Return definitions of some adapters that a run's configuration can set nothing of."""
    return {name: _sealed(adapter) for name, adapter in resources.items()}


def _sealed(adapter: Adapter) -> dg.ResourceDefinition:
    @contextmanager
    def opened(context: dg.InitResourceContext) -> Iterator[Any]:
        with adapter.yield_for_execution(context) as value:
            yield value

    is_manager = isinstance(adapter, dg.ConfigurableIOManagerFactory)
    kind: Any = dg.IOManagerDefinition if is_manager else dg.ResourceDefinition
    return kind(resource_fn=opened, config_schema={}, description=_description(adapter))


def _description(adapter: Adapter) -> str:
    """Return what the web page shows of an adapter: what it is and how it is set, without keys."""
    shown = [name for name, field in type(adapter).model_fields.items() if field.repr]
    settings = [f"- `{name}`: {hidden(str(getattr(adapter, name)))}" for name in shown]
    return "\n".join([type(adapter).__doc__ or "", "", *settings])
