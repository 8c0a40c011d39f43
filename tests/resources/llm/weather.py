"""What a scripted server says where it does not matter what."""


class Weather:
    """Says one thing about everything, and predicts nothing."""

    def __init__(self, said: str = " words for weather") -> None:
        self._said = said

    def reply(self, prompt: str) -> str:
        return self._said

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        return [0] * len(tokens)
