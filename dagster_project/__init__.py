"""Assembly only: studies, assets and resources meet here and nowhere else."""

import warnings

import dagster as dg

# Partitioned checks are in preview and backfill policies in beta; the Dagster release is pinned.
warnings.filterwarnings("ignore", category=dg.PreviewWarning)
warnings.filterwarnings("ignore", category=dg.BetaWarning)
