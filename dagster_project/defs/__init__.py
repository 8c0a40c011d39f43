"""Components that `dg` and Dagster load: `studies/defs.yaml` names the files of the studies folder, all of them."""
