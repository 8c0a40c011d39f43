"""A sentence encoder that knows letters alone, for tests in which the right text is known to the letter."""

import numpy as np


class SpellingEncoder:
    """A text's vector counts its letters, so that the nearest text is the one spelled most alike."""

    identity = "letters"

    def sentence(self, text: str) -> np.ndarray:
        counts = np.bincount([ord(letter) % 128 for letter in text], minlength=128).astype(np.float64)
        return counts / np.linalg.norm(counts)

    def pieces(self, text: str) -> tuple[list[tuple[int, int]], np.ndarray]:
        return [(place, place + 1) for place in range(len(text))], np.stack(
            [self.sentence(letter) for letter in text]
        )
