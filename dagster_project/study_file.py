"""A study as a component of Dagster: what `dg` checks and scaffolds is a TOML file of the studies folder."""

from typing import Annotated

import dagster as dg
from pydantic import Field

from dagster_project.environments import Environment
from dagster_project.study_scaffold import StudyScaffolder


@dg.scaffold_with(StudyScaffolder)
class StudyFile(dg.Component, dg.Model, dg.Resolvable):
    """A TOML file of the studies folder: which neurons of a model are explained, on what text, and by what.

    `dg scaffold defs dagster_project.study_file.StudyFile mine` writes `studies/mine.toml`, with comments.
    Nothing else is needed: every study of the folder (`NEUROSCRIBE_STUDIES`) is loaded, and has its graph,
    jobs and sensors. `dg check defs` names what is wrong with any of them; the page shows a broken one as
    an asset with the message.
    """

    file: Annotated[
        str,
        Field(
            pattern=r"^[^/\\]+\.toml$",
            description="Name of a file in the studies folder, or of several by a wildcard: `gpt2_*.toml`.",
            examples=["mine.toml", "*.toml"],
        ),
    ] = "*.toml"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return graphs, jobs and sensors of the studies named; the code location adds the resources.

        Raises StudyError where no file has the name and, under `dg check defs`, for files that are broken.
        """
        # Here, so that who only lists or scaffolds components need not wait for torch.
        from dagster_project.build import folder_defs
        from neuroscribe.kinds import read_studies

        environment = Environment.read()
        studies = read_studies(environment.studies, self.file)
        return folder_defs(studies, environment, checked=environment.checked)
