"""Assembly only: studies, assets and resources meet here and nowhere else."""
