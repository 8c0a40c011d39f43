"""Who finds the text that does not belong, without a language model: a sentence encoder."""

import numpy as np
from jaxtyping import Float

from neuroscribe.choose.judges import Choice
from neuroscribe.choose.trials import Option, Trial
from neuroscribe.ports.models import TextEncoder


class OddOneOut:
    """Fulfils the port `Chooser` with a sentence encoder: the option that is least like the others.

    That is the one with the smallest mean cosine to them. Of equal ones the first is chosen; the order is
    drawn.
    """

    calls_at_once = 1
    """Vectors are computed here, one after the other."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._vectors: dict[Option, Float[np.ndarray, " feature"]] = {}
        self.identity = f"{encoder.identity}; smallest mean cosine to the other options"

    async def choice(self, trial: Trial) -> Choice:
        """Return the option that is least like the others."""
        vectors = np.array([self._vector(option) for option in trial.options])
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, 0.0)
        return Choice(int(np.argmin(cosines.sum(1))))

    def _vector(self, option: Option) -> Float[np.ndarray, " feature"]:
        """Return an option's vector; it is kept, for excerpts recur."""
        if option not in self._vectors:
            text = b"".join(option.texts).decode("utf-8", errors="replace")
            self._vectors[option] = self._encoder.sentence(text)
        return self._vectors[option]
