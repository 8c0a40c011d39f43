"""What `dg` and Dagster load: `studies/defs.yaml` names all files of the studies folder."""
