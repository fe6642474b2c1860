"""What the rules ask for; knows no Snakemake."""
