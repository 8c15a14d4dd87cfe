"""Every kind of report that a policy may ask about, one a file; `SECTIONS` is the only list."""

from dropkit.serving.releasing._limit import Section
from dropkit.serving.releasing._sections.audit import AUDIT
from dropkit.serving.releasing._sections.calibration import CALIBRATION
from dropkit.serving.releasing._sections.freeze import FREEZE
from dropkit.serving.releasing._sections.guard import GUARD
from dropkit.serving.releasing._sections.handoff import HANDOFF
from dropkit.serving.releasing._sections.memorization import MEMORIZATION
from dropkit.serving.releasing._sections.probe import PROBE
from dropkit.serving.releasing._sections.service import SERVICE
from dropkit.serving.releasing._sections.study import STUDY

SECTIONS: tuple[Section, ...] = (
    AUDIT,
    STUDY,
    MEMORIZATION,
    CALIBRATION,
    HANDOFF,
    FREEZE,
    GUARD,
    PROBE,
    SERVICE,
)
