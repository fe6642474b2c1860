"""Tables and configurations with which the workflow must not start, and some with which it must."""

HEADER = "participant_id\timage\tfev1pp"

CONFIG_FAULTS = {  # name -> what it is, changes of the configuration, what is told
    "config-type": (
        "configuration: text where a number belongs",
        {"pretrain.epochs": "many"},
        "pretrain.epochs: 'many' is not of type 'integer'",
    ),
    "config-unknown-key": (
        "configuration: unknown key",
        {"landmarks.neighbors": 2},
        "landmarks: Additional properties are not allowed ('neighbors' was unexpected)",
    ),
    "config-negative": (
        "configuration: negative size",
        {"pretrain.batch_size": -4},
        "pretrain.batch_size: -4 is less than the minimum of",
    ),
}
ROW_FAULTS = {  # name -> what it is, the row, what is told; the rows make one table, in this order
    "id-twice": (
        "same participant twice",
        "good-1\tb.nii.gz\t80",
        "line 3, participant_id: 'good-1' is already on line 2",
    ),
    "id-path": ("id with ../", "../x\tc.nii.gz\t80", "line 4, participant_id: '../x' is not letters"),
    "id-space": ("id with a space", "a b\td.nii.gz\t80", "line 5, participant_id: 'a b' is not letters"),
    "id-unicode": ("id with unicode", "Jürgen\te.nii.gz\t80", "line 6, participant_id: 'Jürgen' is not letters"),
    "id-dash": ("id with a leading dash", "-rf\tf.nii.gz\t80", "line 7, participant_id: '-rf' is not letters"),
    "id-empty": ("no id", "\tg.nii.gz\t80", "line 8, participant_id: '' is not letters"),
    "text-for-number": (
        "text in a number column",
        "h\th.nii.gz\thigh",
        "line 9, fev1pp: 'high' is not of type 'number'",
    ),
    "out-of-range": (
        "number outside its range",
        "i\ti.nii.gz\t2500",
        "line 10, fev1pp: 2500 is greater than the maximum",
    ),
    "no-image": ("no scan", "j\t\t80", "line 11, image: empty"),
    "ragged": ("a cell too many", "k\tk.nii.gz\t80\t1", "line 12: 4 cells where the header has 3"),
    "line-break": ("a line break in a cell", 'l\tl.nii.gz\t"80\n"', "line 13: a line break, or another such character"),
    "open-quote": (
        "a quotation mark left open",
        'm\tm.nii.gz\t"80\nn\tn.nii.gz\t80',
        "line 15: unexpected end of data",
    ),
}
TABLE_FAULTS = {  # name -> what it is, the table's name, its content, what is told
    "columns": (
        "missing columns",
        "columns.tsv",
        b"subject\tscan\na\ta.nii.gz\n",
        "column 'image' is missing; found are subject, scan",
    ),
    "delimiter": (
        "wrong delimiter",
        "delimiter.csv",
        b"participant_id;image\na;a.nii.gz\n",
        "column 'participant_id' is missing; found are participant_id;image",
    ),
    "encoding": (
        "not UTF-8",
        "encoding.tsv",
        f"{HEADER}\tsex\nMüller\ta.nii.gz\t80\tF\n".encode("latin-1"),
        "encoding.tsv: not UTF-8",
    ),
}
ROWS = "\n".join([HEADER, "good-1\ta.nii.gz\t80", *(row for _, row, _ in ROW_FAULTS.values()), ""]).encode()
ACCEPTED = {  # name -> what it is, a table of five participants
    "table-bom": ("table with a byte-order mark", b"\xef\xbb\xbf"),
    "table-crlf": ("table with the line ends of Windows", b"\r\n"),
    "table-extra-columns": ("table with columns of its own", b"\tscanner"),
}


def good_table(oddity):
    """Return a sound table of five participants in one of the odd ways of `ACCEPTED`."""
    extra = "\tscanner" if oddity == b"\tscanner" else ""
    lines = [HEADER + extra, *(f"p{number}\tp{number}.nii.gz\t80{extra}" for number in range(5)), ""]
    start, end = (oddity, b"\n") if oddity == b"\xef\xbb\xbf" else (b"", b"\r\n" if oddity == b"\r\n" else b"\n")
    return start + end.join(line.encode() for line in lines)
