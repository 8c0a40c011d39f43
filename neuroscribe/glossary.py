"""One word for one thing: the sentences that tooltips, README and dataset card share."""

WORDS: dict[str, str] = {
    "study": "One subject, corpus, sampling plan and choice of explainers, simulators and scorers.",
    "subject": "The language model whose neurons are studied.",
    "layer": "Index of a transformer block, from 0.",
    "neuron": "Index of one input channel of a block's MLP down-projection, from 0.",
    "sequence": "One fixed-length window of tokens that never crosses a document.",
    "activation": "The neuron's value at one token of one sequence.",
    "peak": "The largest activation in a sequence (the smallest, for polarity -1).",
    "polarity": "+1 or -1: which sign of the neuron is explained.",
    "exemplar": "A sequence chosen for a neuron, with its activations; its kind is top, quantile or random.",
    "split": "train (seen by the explainer), valid (choice among candidates) or test (reported); no sequence"
    " is in two of them.",
    "explanation": "A text by an explainer about one neuron and polarity.",
    "simulation": "Activations predicted from an explanation alone, on a scale from 0 to 10.",
    "score": "How far an explanation can be trusted, by a named measure, on a split and regime.",
    "correlation": "Pearson correlation of simulated and true activations over all tokens, from -1 to 1.",
    "r2": "Share of the variance that calibrated simulated activations explain, at most 1.",
    "deviation": "Share of the absolute deviation from 0 that they explain, at most 1.",
    "contrast": "Correlation of the truth with a difference: the simulation, less that under the control's"
    " explanation; no difference of two scores.",
    "balanced accuracy": "Mean of the shares of firing and of silent excerpts that a judge told rightly;"
    " one half by guessing.",
    "AUC": "Chance that a firing excerpt is held likelier than a silent one; one half by guessing.",
    "ablation": "Share of what replacing the neuron by its mean does to the subject's predictions that its"
    " simulation avoids, at most 1.",
    "regime": "top_and_random (top exemplars and as many random ones) or random_only.",
    "ceiling": "The score of the mean activation per token, learned on held-out sequences: a mark to"
    " compare with, which a score may pass.",
    "control": "The score of another neuron's explanation on this neuron's exemplars; none where that"
    " neuron's explainer has seen one of them, or no other text is at hand.",
    "interval": "From ci_low to ci_high: the 95 % percentile bootstrap over sequences.",
}
"""`neuron` is said of MLP neurons; a dataset of another kind of unit has that kind's sentence there."""

COUNTS: dict[str, str] = {
    "neurons": "Neurons with statistics, over all layers published.",
    "explanations": "Rows of explanations, those without text included.",
    "explained": "Neurons (each polarity on its own) with at least one explanation that has text.",
    "scored": "Neurons (each polarity on its own) whose chosen explanation has a score on the test split.",
    "scores": "Rows of scores that have a value.",
    "unscored": "Rows of scores without a value; null_reason says why.",
}
"""What each number in a dataset's manifest counts."""
