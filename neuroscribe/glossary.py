"""One word for one thing: the sentences that tooltips, README and dataset card share."""

WORDS: dict[str, str] = {
    "study": "One subject, corpus, sampling plan and choice of explainers, simulators and scorers.",
    "subject": "The language model whose neurons are studied.",
    "layer": "Index of a transformer block, from 0.",
    "neuron": "Index of one input channel of a block's MLP down-projection, from 0.",
    "sequence": "One fixed-length window of tokens that never crosses a document.",
    "folded": "Left out as a copy: a document whose text was there before, or a window that shares 13 tokens"
    " in a row with one that was taken.",
    "activation": "The neuron's value at one token of one sequence.",
    "peak": "The largest activation in a sequence (the smallest, for polarity -1).",
    "polarity": "+1 or -1: which sign of the neuron is explained.",
    "exemplar": "A sequence chosen for a neuron, with its activations; its kind is top, quantile or random.",
    "split": "train (seen by the explainer), valid (choice among candidates) or test (reported); no document"
    " is in two of a neuron's.",
    "explanation": "A text by an explainer about one neuron and polarity.",
    "part": "Of an explanation with several, a text that is read by itself; at each token the largest value"
    " counts.",
    "gap": "Score of an explanation less that of its paraphrase by another model: what rests on its wording.",
    "imported": "Said of labels that others made; what they were made from is not known.",
    "description": "The explanation by which a neuron is shown: of all explainers' the best on `valid`, a"
    " language model's only where it beats the best made without one; its score is that on test.",
    "recognisable": "Said of further neurons, drawn among those that their tokens predict, to show what"
    " success looks like; they are in no mean.",
    "simulation": "Activations predicted from an explanation alone, on a scale from 0 to 10.",
    "peak phrase": "The word where a neuron peaks in an excerpt, with up to two words before it.",
    "near miss": "An excerpt that holds a token on which the neuron fires elsewhere, and leaves it silent; a"
    " sequence so shown counts as seen by the explainer.",
    "held out": "Never shown to the explainer: no sequence of a document of its exemplars, and for one that"
    " is shown a token table, only the quarter of the documents that no table is learned from.",
    "population": "The sequences that a score speaks of: all that are held out from its explanation.",
    "regime": "corpus (the score for the population), top_and_random or random_only (the paper's, Bills et"
    " al. 2023: a few top exemplars and as many random ones, weighted alike; no estimate for ordinary"
    " text), or amplified (of the output half).",
    "stratum": "Sequences of a population with similar peaks, or near the explanation's words; how many each"
    " holds is known, so that a few draws stand for all.",
    "score": "How far an explanation can be trusted, by a named measure, on a split and regime.",
    "estimate": "A score over the corpus from about twenty drawn sequences, each weighted by the share of"
    " its stratum; simulators that cost nothing read every sequence instead.",
    "interval": "From ci_low to ci_high, 95 %: where the score of all sequences lies, by sampling theory;"
    " where all were read, that of other text of the same kind.",
    "correlation": "Pearson correlation of simulated and true activations over all tokens, from -1 to 1.",
    "cosine": "The same without subtracting the means, from -1 to 1.",
    "fires": "Said of a token where a neuron's activation is at least 35 % of the smallest peak of its top"
    " exemplars; a simulation says so from 5 of 10 on.",
    "F1": "Of the tokens where neuron or simulation fire, twice those where both do over the sum of each.",
    "IoU": "Tokens where neuron and simulation both fire over those where either does.",
    "AUPRC": "Average precision of the simulated values in finding the tokens where the neuron fires; the"
    " share of such tokens by guessing.",
    "r2": "Share of the variance that calibrated simulated activations explain, at most 1; only where a"
    " calibration is fitted.",
    "deviation": "Share of the absolute deviation from 0 that they explain, at most 1; likewise.",
    "balanced accuracy": "Mean of the shares of firing and of silent excerpts that a judge told rightly; one"
    " half by guessing.",
    "AUC": "Chance that a firing excerpt is held likelier than a silent one; one half by guessing.",
    "ablation": "Share of what replacing the neuron by its mean does to the subject's predictions that its"
    " simulation avoids, at most 1.",
    "input half": "What a neuron fires on; its explanations are simulated.",
    "output half": "What a neuron does to the next token; its explanations are scored by steering.",
    "amplified": "Held at a large activation, at which predictions move by a stated divergence (or as far as"
    " the study allows).",
    "effect": "What changes in the subject's predictions and in what it writes when a neuron is amplified.",
    "steering": "Share of questions in which a judge, given an explanation, finds what the subject wrote with"
    " the neuron amplified among what it wrote with two others; one third by guessing.",
    "sensitivity": "Share of sentences written from the explanation on which the neuron fires.",
    "written": "The regime of scores from sentences that were written from the explanation.",
    "intruder": "An excerpt on which a neuron is silent among some that end where it peaks; how often a judge"
    " finds it says whether these have anything in common, whatever the explanation.",
    "ceiling": "The score of the tokens alone: each predicted by its mean activation in all other documents."
    " A mark to compare with, which a score may pass.",
    "control": "Mean score of up to ten other neurons' explanations on this neuron, from the same layer and"
    " explainer, which never saw the text: what any text would score.",
    "p": "How likely another neuron's explanation does as well as this one.",
    "clearly better": "Above all ten controls, and by so much that of all explanations so called one in"
    " twenty is wrongly called so (Benjamini and Hochberg).",
    "twin": "The same study of the same network with random weights: what of a score is no knowledge about"
    " the model.",
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
