"""Show what the workflow does: two tables in short on the terminal, and where the picture lies.

Reads:   results/table2.csv, results/known_truth.csv, results/figure_neighbours.png
Writes:  nothing: it is printed again whenever it is asked for
Config:  roles.copd, a cohort of phantoms
"""


rule demonstration:
    input:
        truth="results/known_truth.csv",
        labels="results/table2.csv",
        picture="results/figure_neighbours.png",
    log:
        "logs/demonstration.log",
    conda:
        "../envs/core.yaml"
    script:
        "../workflow_scripts/demonstration.py"
