"""The rules, one a file; this tuple is the only list of them."""

from dropkit.auditing.rule import Rule
from dropkit.auditing.rules.attention_weights_after_dropout import AttentionWeightsAfterDropout
from dropkit.auditing.rules.dropout_after_dropout import DropoutAfterDropout
from dropkit.auditing.rules.dropout_before_batch_norm import DropoutBeforeBatchNorm
from dropkit.auditing.rules.dropout_before_max_pool import DropoutBeforeMaxPool
from dropkit.auditing.rules.dropout_before_softmax import DropoutBeforeSoftmax
from dropkit.auditing.rules.dropout_in_eval import DropoutInEval
from dropkit.auditing.rules.dropout_of_infinity import DropoutOfInfinity
from dropkit.auditing.rules.dropout_on_output import DropoutOnOutput
from dropkit.auditing.rules.element_dropout_on_feature_maps import ElementDropoutOnFeatureMaps
from dropkit.auditing.rules.mask_scaled_twice import MaskScaledTwice
from dropkit.auditing.rules.mask_shifts_mean import MaskShiftsMean
from dropkit.auditing.rules.scale_overflows import ScaleOverflows
from dropkit.auditing.rules.unscaled_mask import UnscaledMask

#: Sorted by code.
RULES: tuple[type[Rule], ...] = (
    DropoutInEval,
    DropoutBeforeBatchNorm,
    DropoutAfterDropout,
    DropoutOnOutput,
    ElementDropoutOnFeatureMaps,
    DropoutBeforeMaxPool,
    DropoutBeforeSoftmax,
    UnscaledMask,
    MaskScaledTwice,
    MaskShiftsMean,
    ScaleOverflows,
    AttentionWeightsAfterDropout,
    DropoutOfInfinity,
)
