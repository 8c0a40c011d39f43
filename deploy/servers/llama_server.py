"""Serves a GGUF file with llama.cpp until it is ended: `python llama_server.py FILE PORT`.

Runs in an environment of its own, which holds xllamacpp and nothing of this project.
"""

import signal
import sys

import xllamacpp as llama

CONTEXT, AT_ONCE, THREADS = 8192, 2, 2
"""Tokens of all requests together, requests at once, threads."""


def main(file: str, port: int) -> None:
    """Serve on this machine alone."""
    parameters = llama.CommonParams()
    parameters.model.path = file
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = port
    parameters.n_ctx, parameters.n_parallel = CONTEXT, AT_ONCE
    parameters.cpuparams.n_threads = THREADS
    parameters.cpuparams_batch.n_threads = THREADS
    server = llama.Server(parameters)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
