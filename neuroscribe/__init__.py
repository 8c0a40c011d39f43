"""The core of Neuroscribe: tensors and tables in, tensors and tables out.

Everything an interpretability researcher would recognise lives here. The core imports no orchestrator,
object store, LLM client or validation framework, and reads neither the environment nor the clock:
devices, seeds, clients and progress displays are arguments.
"""

__version__ = "0.1.0"
