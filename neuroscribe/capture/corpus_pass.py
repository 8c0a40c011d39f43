"""One pass of sequences through the subject: batches that fit memory, blocks, checkpoints on the way.

What is guaranteed, with checkpoints:

- A kill costs the work since the last one. They are `Subject.checkpoint_seconds` of work apart (60), or
  further where writing takes long: as much as keeps writing to a fifth of the time, but not beyond two
  minutes from one to the next while a write takes less than one minute; after longer writes, as long as the
  write took (`neuroscribe.pace.Alarm`). To this comes the batch under way or, with whole activations, the
  rest of a block of sequences (`WholeActivations.block`), since half a block is in no file.
- At the end of a shard, and of the corpus, the finished states are written, whatever the time.
- Memory that does not suffice halves the batches from there on, and says so. In the subject's pass it costs
  the batch; in the reduction, which may leave a state half changed, what a kill would cost; while a
  checkpoint is written, that checkpoint. Without checkpoints, a reduction that breaks off begins at the first
  sequence.
- Layers that are further on than others wait: they are not reduced again, nor is the subject run beyond the
  last layer that is behind.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from neuroscribe.capture.checkpoints import Checkpoints
from neuroscribe.capture.memory import is_lack_of_memory
from neuroscribe.capture.reduction import Reduction
from neuroscribe.corpus import distinct_tokens
from neuroscribe.ports import Progress


class CorpusPass:
    """A pass of the sequences `own` of a corpus; at its end all states of the reduction have taken them."""

    def __init__(
        self,
        reduction: Reduction,
        tokens: Int[Tensor, "sequence token"],
        own: range,
        *,
        progress: Progress,
        checkpoints: Checkpoints | None,
    ) -> None:
        self._reduction, self._tokens, self._own = reduction, tokens, own
        self._progress, self._checkpoints = progress, checkpoints
        self._subject = reduction.subject
        distinct, self._places = distinct_tokens(tokens)
        self._vocabulary = len(distinct)
        # What is held of a block of whole activations is lost in a kill, so checkpoints come between blocks.
        self._unit = reduction.whole.block if reduction.whole else 1
        self._due = progress.alarm(self._subject.checkpoint_seconds)

    def run(self) -> None:
        """Run what the states have not taken; raises CaptureError for activations that are not finite.

        Memory that does not suffice for one sequence is raised as it is met.
        """
        label = f"capture {self._subject.name}"
        with self._progress.task(label, total=len(self._own), unit="sequences") as advance:
            done, batch = self._begun(), self._subject.batch(self._tokens.shape[1])
            advance(done - self._own.start)
            while done < self._own.stop:
                stop = self._end(done, batch)
                if self._fits(self._take, done, stop, smallest=stop - done == 1):
                    advance(stop - done)
                    done = stop
                    if self._is_due(done) and not self._fits(self._save, done):
                        advance(0, note="out of memory; a checkpoint is left out")
                    continue
                batch = (stop - done) // 2
                back = self._begun() if self._reduction.torn else done
                again = f", again from sequence {back}" if back < done else ""
                advance(back - done, note=f"out of memory; on with batches of {batch}{again}")
                done = back

    def _begun(self) -> int:
        """Start from the last checkpoints; return the first sequence that some layer has not taken."""
        self._reduction.let_go()
        layers = self._reduction.projections
        states = self._checkpoints.resumed(layers, self._own) if self._checkpoints else {}
        self._reduction.begin(states, vocabulary=self._vocabulary)
        return max(self._own.start, self._reduction.stop)

    def _end(self, done: int, batch: int) -> int:
        """Return where a batch ends: blocks of sums, or of whole activations, are cut where they end."""
        block = self._reduction.plan.block if self._unit == 1 else self._unit
        return min(done + batch, done - done % block + block, self._own.stop)

    def _take(self, done: int, stop: int) -> None:
        tokens = self._tokens[done:stop]
        self._reduction.take(tokens, self._places[tokens], first=done)
        if stop % self._reduction.plan.block == 0 or stop == self._own.stop:
            self._reduction.fold(stop)

    def _is_due(self, done: int) -> bool:
        between = done % self._unit == 0 and done < self._own.stop
        return self._checkpoints is not None and between and self._due()

    def _save(self, done: int) -> None:
        """Write the states that have come so far; layers further on have their files."""
        assert self._checkpoints is not None
        self._reduction.settle()
        states = {layer: state for layer, state in self._reduction.states.items() if state.stop == done}
        self._checkpoints.save(states)
        self._due()  # asked at once, the alarm learns how long this took

    def _fits(self, work: Callable[..., None], *places: Any, smallest: bool = False) -> bool:
        """Do some work; tell whether memory sufficed. Raises where nothing smaller can be tried."""
        try:
            work(*places)
        except (MemoryError, RuntimeError) as error:
            if smallest or not is_lack_of_memory(error):
                raise
        else:
            return True
        # The error is gone here, and with it what its frames held.
        if self._subject.device.type == "cuda":
            torch.cuda.empty_cache()
        return False
