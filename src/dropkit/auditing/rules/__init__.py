"""The rules, one a file; this tuple is the only list of them."""

from dropkit.auditing.rule import Rule
from dropkit.auditing.rules.another_mask_in_recomputation import AnotherMaskInRecomputation
from dropkit.auditing.rules.attention_dropout_in_eval import AttentionDropoutInEval
from dropkit.auditing.rules.attention_weights_after_dropout import AttentionWeightsAfterDropout
from dropkit.auditing.rules.batch_norm_in_training import BatchNormInTraining
from dropkit.auditing.rules.config_rate_unused import ConfigRateUnused
from dropkit.auditing.rules.dropout_after_dropout import DropoutAfterDropout
from dropkit.auditing.rules.dropout_always_on import DropoutAlwaysOn
from dropkit.auditing.rules.dropout_before_argmax import DropoutBeforeArgmax
from dropkit.auditing.rules.dropout_before_batch_norm import DropoutBeforeBatchNorm
from dropkit.auditing.rules.dropout_before_max_pool import DropoutBeforeMaxPool
from dropkit.auditing.rules.dropout_before_softmax import DropoutBeforeSoftmax
from dropkit.auditing.rules.dropout_in_eval import DropoutInEval
from dropkit.auditing.rules.dropout_in_export import DropoutInExport
from dropkit.auditing.rules.dropout_in_single_pass import DropoutInSinglePass
from dropkit.auditing.rules.dropout_of_infinity import DropoutOfInfinity
from dropkit.auditing.rules.dropout_of_zeros import DropoutOfZeros
from dropkit.auditing.rules.dropout_on_output import DropoutOnOutput
from dropkit.auditing.rules.dropout_with_weight_decay import DropoutWithWeightDecay
from dropkit.auditing.rules.element_dropout_on_feature_maps import ElementDropoutOnFeatureMaps
from dropkit.auditing.rules.eval_not_followed import EvalNotFollowed
from dropkit.auditing.rules.frozen_part_drops import FrozenPartDrops
from dropkit.auditing.rules.handed_over_in_eval import HandedOverInEval
from dropkit.auditing.rules.left_in_training import LeftInTraining
from dropkit.auditing.rules.mask_scaled_twice import MaskScaledTwice
from dropkit.auditing.rules.mask_shifts_mean import MaskShiftsMean
from dropkit.auditing.rules.masks_depend_on_threads import MasksDependOnThreads
from dropkit.auditing.rules.partly_silenced import PartlySilenced
from dropkit.auditing.rules.rate_left_unset import RateLeftUnset
from dropkit.auditing.rules.rate_never_applied import RateNeverApplied
from dropkit.auditing.rules.rate_unusual import RateUnusual
from dropkit.auditing.rules.rate_zero_left_over import RateZeroLeftOver
from dropkit.auditing.rules.recurrent_dropout_without_layers import RecurrentDropoutWithoutLayers
from dropkit.auditing.rules.same_mask_every_call import SameMaskEveryCall
from dropkit.auditing.rules.same_mask_for_every_row import SameMaskForEveryRow
from dropkit.auditing.rules.same_masks_on_every_rank import SameMasksOnEveryRank
from dropkit.auditing.rules.scale_overflows import ScaleOverflows
from dropkit.auditing.rules.scaled_in_eval_too import ScaledInEvalToo
from dropkit.auditing.rules.sites_share_masks import SitesShareMasks
from dropkit.auditing.rules.sleeping_in_monte_carlo import SleepingInMonteCarlo
from dropkit.auditing.rules.unregistered_dropout import UnregisteredDropout
from dropkit.auditing.rules.unscaled_mask import UnscaledMask
from dropkit.auditing.rules.unused_rate_argument import UnusedRateArgument

#: Sorted by code.
RULES: tuple[type[Rule], ...] = (
    DropoutInEval,
    AttentionDropoutInEval,
    UnregisteredDropout,
    EvalNotFollowed,
    DropoutAlwaysOn,
    LeftInTraining,
    FrozenPartDrops,
    SleepingInMonteCarlo,
    BatchNormInTraining,
    HandedOverInEval,
    RateNeverApplied,
    ConfigRateUnused,
    RecurrentDropoutWithoutLayers,
    RateZeroLeftOver,
    PartlySilenced,
    RateLeftUnset,
    UnusedRateArgument,
    DropoutBeforeArgmax,
    DropoutOfZeros,
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
    ScaledInEvalToo,
    SameMaskForEveryRow,
    SameMaskEveryCall,
    SameMasksOnEveryRank,
    AnotherMaskInRecomputation,
    MasksDependOnThreads,
    SitesShareMasks,
    RateUnusual,
    DropoutWithWeightDecay,
    DropoutInSinglePass,
    DropoutInExport,
)
