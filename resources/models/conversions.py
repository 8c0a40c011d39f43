"""Keeps one converted copy of each GGUF artefact in the cache; a conversion broken off is begun anew."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from neuroscribe.errors import ArtefactError
from resources.models.artefacts import Artefacts, cache_errors
from resources.models.convert_gguf import UNKNOWN_RULES

CONVERTER = Path(__file__).with_name("convert_gguf.py")
CONVERTER_VERSION = 2
"""Raised when the converter gives other weights or another tokenizer for the same file."""

# A 4-bit file grows to 16 bits per weight; an untied copy of the embedding comes on top.
GROWTH = 4
_RECORD = "conversion.json"


def converted(name: str, gguf: Path, *, artefacts: Artefacts) -> Path:
    """Return a folder with the safetensors form of an artefact's GGUF file, converting it if need be.

    Takes about a minute and five times the file's size of memory, in a process of its own. Raises
    ArtefactError when that fails or the cache cannot take it.
    """
    folder, pin = artefacts.cache / "converted" / name, artefacts.pin(name)
    record = {"source_sha256": pin.sha256, "converter": CONVERTER_VERSION}
    with cache_errors(artefacts.cache):
        if _recorded(folder) != record:
            with artefacts.lock(f"convert-{name}"):
                # Another process may have made it while this one waited for the lock.
                if _recorded(folder) != record:
                    artefacts.check_disk(name, needed=GROWTH * pin.bytes)
                    with artefacts.progress.task(
                        f"converting {name} (once)", total=1, unit="models"
                    ) as advance:
                        _convert(name, gguf, folder, record)
                        advance()
    return folder


def _recorded(folder: Path) -> object:
    """Return what a finished conversion was made from, or None."""
    try:
        return json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _convert(name: str, gguf: Path, folder: Path, record: dict[str, str | int]) -> None:
    """Convert into a folder beside the final one, then put it in place whole."""
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    # -P: the folder of the program holds modules whose names others use.
    command = [sys.executable, "-P", str(CONVERTER), str(gguf), str(unfinished)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603 - our own module
    if done.returncode:
        shutil.rmtree(unfinished)
        raise ArtefactError(f"{name}: {gguf.name} cannot be converted ({_reason(done)})")
    (unfinished / _RECORD).write_text(json.dumps(record), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return why a conversion ended, with what can be done about it."""
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}, probably for want of memory; free some and run again"
    last = done.stderr.strip().splitlines()[-1:] or ["no message"]
    if done.returncode == UNKNOWN_RULES:
        return f"{last[0]}; take the model in Hugging Face's form, with its tokenizer.json"
    return f"{last[0]}; check that transformers and gguf are the versions of requirements.lock"
