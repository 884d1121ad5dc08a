"""The mixture of Gaussians on a table of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from chainrule.core.course import Topic
from chainrule.core.errors import UserError
from chainrule.core.recipe import Target, recipe
from chainrule.core.settings import Count, Fraction, NonNegative, Repeats, Size

if TYPE_CHECKING:
    from chainrule.run.run import Run
    from chainrule.systems.graphical.task import MixtureDensity


@recipe(
    "gaussian-mixture",
    task="density estimation",
    data="digits",
    kinds=("table",),
    source="Dempster, Laird, Rubin 1977; Bishop 2006, section 9.2",
    model="gaussian-mixture",
    target=Target(
        "nll_nats",
        14.72,
        "digits",
        "scikit-learn 1.9, GaussianMixture(10, reg_covar=1e-3) on the same splits",
        "test split after the last iteration; mean of ten random_state on each of the splits of seeds 0, 1, 2; "
        "standardised rows, in nats",
    ),
    tiny={"components": 2, "components_to": 3, "max_iterations": 5, "covariance": "diagonal"},
    summary_zh="表格数据上的高斯混合模型",
    topics=(
        Topic(
            "Number of components: BIC, AIC, validation",
            "分量个数：BIC、AIC、验证集",
            lectures=(3,),
            command="chainrule train gaussian-mixture components=2 components_to=12",
        ),
    ),
)
def gaussian_mixture(
    run: Run,
    *,
    components: Count = 10,
    components_to: Size = 0,
    covariance: Literal["full", "tied", "diagonal", "spherical"] = "full",
    reg_covar: NonNegative = 1e-3,
    choose: Literal["bic", "aic", "validation"] = "bic",
    restarts: Repeats = 1,
    max_iterations: Count = 200,
    tolerance: NonNegative = 1e-3,
    standardize: bool = True,
    drop_constant: bool = True,
    dtype: Literal["auto", "float64", "float32"] = "auto",
    val_fraction: Fraction = 0.1,
) -> MixtureDensity:
    """A mixture of Gaussians by EM from k-means++; with components_to, a search for the number of components."""
    import torch

    from chainrule.data.tables.loading import load_table
    from chainrule.systems.graphical.gaussian_mixture import GaussianMixture
    from chainrule.systems.graphical.task import MixtureDensity

    if 0 < components_to < components:
        raise UserError(
            "components_to is below components",
            expected=f"{components} or more, or 0 for no search",
            found=f"components_to={components_to}",
        )
    on_mps = run.device.type == "mps"  # which has no float64
    if on_mps and dtype == "float64":
        raise UserError("this device has no float64", found="dtype=float64", cure="dtype=float32, or --device cpu")
    rows_dtype = torch.float32 if dtype == "float32" or on_mps else torch.float64
    data = load_table(
        run.data,
        task="density",
        dtype=rows_dtype,
        standardize=standardize,
        drop_constant=drop_constant,
        val_fraction=val_fraction,
    )
    counts = data.spec.counts
    highest = max(components, components_to)
    if highest > counts["train"]:
        raise UserError(
            "there are fewer training rows than components",
            where=data.spec.where,
            expected=f"{highest} rows or more",
            found=counts["train"],
            cure="fewer components",
        )
    if choose == "validation" and not counts["val"]:
        raise UserError(
            "there is no validation split to choose by", where=data.spec.where, cure="val_fraction=0.1, or choose=bic"
        )
    model = GaussianMixture(components, len(data.spec.mean), covariance, reg_covar)
    candidates = [count for count in range(components, highest + 1) for _ in range(restarts)]
    return MixtureDensity(
        run,
        data=data,
        model=run.place(model.float() if on_mps else model),
        candidates=candidates,
        choose=choose,
        max_iterations=max_iterations,
        tolerance=tolerance,
        dtype=rows_dtype,
    )
