"""Times forward passes and, apart from them, the hooks within: at the modules, in an unchanged capture."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from neuroscribe.capture import reduction
from neuroscribe.subject.architectures import backbone


@dataclass
class PassTimer:
    """Seconds of each forward pass and, within it, of the hooks on some modules."""

    passes: list[float] = field(default_factory=list)
    hooks: list[float] = field(default_factory=list)

    @contextmanager
    def attached(self, model: torch.nn.Module, modules: list[torch.nn.Module]) -> Iterator[None]:
        """While open, time passes of the model's backbone and hooks that are registered on the modules."""
        body = backbone(model)
        body.forward = self._timed_pass(body.forward)
        for module in modules:
            module.register_forward_pre_hook = self._timed_registration(module.register_forward_pre_hook)  # pyright: ignore[reportAttributeAccessIssue]
        # A pass that ends before the last down-projection would be too short a measure.
        reduction.reading = partial(_to_the_end, reduction.reading)
        try:
            yield
        finally:
            reduction.reading = reduction.reading.args[0]
            del body.forward
            for module in modules:
                del module.register_forward_pre_hook

    def _timed_pass(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self.hooks.append(0.0)
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:  # a pass ends by an exception after the last layer that is read
                self.passes.append(time.perf_counter() - started)

        return timed

    def _timed_registration(self, register: Callable[..., Any]) -> Callable[..., Any]:
        def registered(hook: Callable[..., Any]) -> Any:
            def timed(module: torch.nn.Module, inputs: tuple[Any, ...]) -> Any:
                started = time.perf_counter()
                try:
                    return hook(module, inputs)
                finally:
                    self.hooks[-1] += time.perf_counter() - started

            return register(timed)

        return registered


def _to_the_end(reading: Any, *arguments: Any, **named: Any) -> Any:
    return reading(*arguments, **named | {"stop": False})
