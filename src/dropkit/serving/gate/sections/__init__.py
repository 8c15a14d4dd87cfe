"""Every kind of report that a policy may ask about, one a file; `SECTIONS` is the only list."""

from dropkit.serving.gate.limit import Section
from dropkit.serving.gate.sections.audit import AUDIT
from dropkit.serving.gate.sections.calibration import CALIBRATION
from dropkit.serving.gate.sections.handoff import HANDOFF
from dropkit.serving.gate.sections.study import STUDY

SECTIONS: tuple[Section, ...] = (AUDIT, STUDY, CALIBRATION, HANDOFF)
