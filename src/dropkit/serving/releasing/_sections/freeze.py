"""Is there dropout left in the served model? The proof that `dropkit.freeze` has saved."""

from dropkit.serving.releasing._limit import Section, at_most

_SOURCE = "dropkit.freeze"
_STEP = "Freeze the model again with this version of dropkit, and look at what it refuses."

FREEZE = Section(
    "freeze",
    "`dropkit.freeze(...).save`, freeze.json",
    lambda report: report.get("format") == "dropkit freeze",
    (
        at_most(
            "draws",
            lambda report: report["draws"],
            about="masks in a watched run",
            next_step=_STEP,
            source=_SOURCE,
        ),
        at_most(
            "dropout-operators",
            lambda report: report["dropout_operators"],  # null where there is no graph
            about="operators of dropout in the exported graph",
            next_step="Make the model one that torch.export takes; `not_proved` says where it "
            "stops.",
            source=_SOURCE,
        ),
        at_most(
            "not-proved",
            lambda report: len(report["not_proved"]),
            about="sentences on what could not be checked",
            next_step="Read the sentences under `not_proved` in the proof.",
            source=_SOURCE,
        ),
    ),
)
