"""The colours in which the terms of a loss are drawn, in every chart and preview."""

LOSS_COLORS = {
    "total": "#000000",
    "gradient": "#0072B2",
    "content": "#D55E00",
    "style": "#009E73",
    "histogram": "#CC79A7",
    "total variation": "#E69F00",
    "saturation": "#56B4E9",
}
