"""Draw every subject for a person's eyes, and lay the pictures of a cohort on one page, worst first.

Reads:   the scan named by the participants table (no Snakemake input: a missing scan has no picture, that is all)
         results/{cohort}/segment/{id}, results/{cohort}/{atlas}/register/{id}, included.tsv, exclusions.tsv
         results/atlases/{atlas}/{{lung_mask.nii.gz,landmarks.json}}
Writes:  results/{cohort}/{atlas}/qc/{block}/{{{id}.png,subjects.json}}
         results/{cohort}/{atlas}/qc.html
Config:  cohorts, atlases, seed; the page names all that decides it

A hundred subjects are drawn by one job: to start one, and plan it, costs more than a picture. The page does not wait for
the gate, which is when it is wanted most.
"""


rule draw_qc:
    input:
        phantoms=block_phantoms,
        segment=of_block("results/{cohort}/segment/{id}"),
        register=of_block("results/{cohort}/{atlas}/register/{id}"),
        mask="results/atlases/{atlas}/lung_mask.nii.gz",
        landmarks="results/atlases/{atlas}/landmarks.json",
    output:
        pictures=directory("results/{cohort}/{atlas}/qc/{block}"),
    log:
        "logs/{cohort}/{atlas}/draw_qc/{block}.log",
    wildcard_constraints:
        block="[0-9]+",
    conda:
        "../envs/core.yaml"
    params:
        code=code_of("draw_qc", "qc/subjects", "qc/picture", "qc/planes", "qc/canvas"),
        scans=block_scans,
    script:
        "../workflow_scripts/draw_qc.py"


rule make_qc_page:
    input:
        pictures=cohort_blocks,
        exclusions="results/{cohort}/{atlas}/exclusions.tsv",
    output:
        page="results/{cohort}/{atlas}/qc.html",
    log:
        "logs/{cohort}/{atlas}/make_qc_page.log",
    conda:
        "../envs/core.yaml"
    params:
        code=code_of(
            "make_qc_page",
            "qc/page",
            "qc/order",
            "qc/rows",
            "report/page",
            "report/versions",
            also=[
                "drasclr_core/report/templates/qc.html.j2",
                "drasclr_core/report/templates/style.css",
            ],
        ),
        settings=qc_settings,
    script:
        "../workflow_scripts/make_qc_page.py"
