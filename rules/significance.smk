"""Test whether the rows of a table differ, on the folds of its evaluations.

Reads:   results/{cohort}/{atlas}/runs/{run}/eval/{task}.json
Writes:  results/{comparison}.csv, results/{comparison}.md     plain and corrected t-tests
Config:  roles; experiments/{comparison}.yaml, and the table it names
"""


rule make_significance:
    input:
        evaluations=compared_evaluations,
    output:
        csv="results/{comparison}.csv",
        markdown="results/{comparison}.md",
    log:
        "logs/make_significance/{comparison}.log",
    conda:
        "../envs/core.yaml"
    params:
        code=comparison_code,
        settings=comparison_settings,
        phantom=comparison_is_phantom,
        results=comparison_results,
    script:
        "../workflow_scripts/make_significance.py"
