"""Errors a user can act on; each message names the culprit, what was found and what to do.

NeuroscribeError
├── StudyError        a study file, or a request that contradicts it
├── CorpusError       text that cannot be cut into sequences
├── LabelError        labels of others that cannot be read
├── PuzzleError       a file of neuron puzzles that is wrong
├── SubjectError      a model that cannot be loaded, or has no dense MLP
│   └── CaptureError  activations that cannot be trusted (NaN, missing hooks)
├── ArtefactError     weights or text that cannot be had, or whose hash is wrong
├── LLMError          the explainer or simulator model
│   ├── CapabilityError    a server that lacks what a simulator needs
│   ├── BatchPendingError  answers that a server will give hours from now
│   └── RejectedError      a request that a server will never accept (resources/llm/faults.py)
├── BudgetError       money for LLM calls that is spent
├── StoreError        a table or tensor that cannot be read or written
└── RunFailedError    a Dagster run that failed, with what its step said (dagster_project/launch.py)

All errors that reach a user are drawn here. An exception that does not derive from NeuroscribeError is an
inner one: the package that defines it catches it, and makes a value or one of these of it.
A refusal or an unreadable reply of an LLM is not an error but a stored, counted value.
"""

from neuroscribe.secrets.known import without_secrets


class NeuroscribeError(Exception):
    """Base of all errors that end a run with one message for the user, in which no secret is shown."""

    def __init__(self, message: object = "") -> None:
        super().__init__(without_secrets(str(message)))


class StudyError(NeuroscribeError):
    """A study file is wrong, or a request does not fit the study."""


class CorpusError(NeuroscribeError):
    """The corpus holds no text, too little of it, or bytes that are not text."""


class LabelError(NeuroscribeError):
    """A file of labels that others have made is wrong."""


class PuzzleError(NeuroscribeError):
    """A file of neuron puzzles is wrong."""


class SubjectError(NeuroscribeError):
    """The subject cannot be loaded or has no neurons of the kind studied here."""


class CaptureError(SubjectError):
    """The captured activations cannot be trusted."""


class ArtefactError(NeuroscribeError):
    """A pinned artefact is missing, or its bytes are not the pinned ones."""


class LLMError(NeuroscribeError):
    """The LLM that explains or simulates cannot be used."""


class CapabilityError(LLMError):
    """The LLM server answers, but cannot do what the study asks of it."""


class BatchPendingError(LLMError):
    """Batch jobs that are under way and on record: nothing is wrong, the answers are not there yet."""


class BudgetError(NeuroscribeError):
    """The money set aside for LLM calls is spent, or what calls cost is unknown."""


class StoreError(NeuroscribeError):
    """A table or tensor cannot be read or written."""
