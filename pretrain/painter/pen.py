"""The pen draws every shape in one of the styles. It knows no figures and no places."""

from __future__ import annotations

import random

import skia

from pretrain.painter.colours import Colour, dark, light, mix, vivid
from pretrain.painter.paths import moved
from pretrain.painter.styles import DRAWN_LIKE

LINE_WIDTH = {"anime style": 1.15, "pastel style": 1.0, "comic style": 2.3}
SKETCH_PAPER: Colour = (246, 243, 236)
NEON_NIGHT: Colour = (14, 10, 30)


def _blur(radius: float) -> skia.MaskFilter:
    """A soft edge."""
    return skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, radius)


class Pen:
    """Draws shapes; the style decides on outline, fill and shading."""

    def __init__(self, canvas: skia.Canvas, style: str, rng: random.Random) -> None:
        self.canvas = canvas
        self.style = DRAWN_LIKE.get(style, style)
        self.rng = rng

    @property
    def colourless(self) -> bool:
        """True for the styles that draw lines instead of filled areas."""
        return self.style in ("sketch style", "neon style")

    def tint(self, colour: Colour) -> Colour:
        """The colour as this style shows it."""
        if self.style == "pastel style":
            return mix(colour, (255, 250, 250), 0.38)
        if self.style == "comic style":
            return vivid(colour, 1.3)
        return colour

    def line_colour(self, colour: Colour) -> Colour:
        """The outline colour that belongs to a fill colour."""
        if self.style == "anime style":
            return dark(colour, 0.66)
        if self.style == "pastel style":
            return dark(mix(colour, (255, 240, 240), 0.25), 0.42)
        if self.style == "comic style":
            return (16, 12, 18)
        return light(colour, 0.12) if max(colour) > 90 else (150, 150, 180)

    def fill(self, path: skia.Path, colour: Colour, alpha: int = 255, blur: float = 0) -> None:
        """A plain filled area in exactly this colour."""
        paint = skia.Paint(AntiAlias=True, Color=skia.Color(*colour, alpha))
        if blur:
            paint.setMaskFilter(_blur(blur))
        self.canvas.drawPath(path, paint)

    def shape(
        self,
        path: skia.Path,
        colour: Colour,
        line: bool = True,
        gloss: bool = False,
        width: float | None = None,
    ) -> None:
        """A filled shape with the outline of the style. Gloss adds a soft vertical gradient."""
        if self.style == "sketch style":
            self.fill(path, SKETCH_PAPER)
            if line:
                self._pencil(path)
        elif self.style == "neon style":
            self.fill(path, mix(NEON_NIGHT, colour, 0.10))
            if line:
                self._neon(path, self.line_colour(colour), width)
        elif self.style == "watercolor style":
            self._wash(path, colour, line)
        elif self.style == "papercut style":
            self._paper(path, colour, line)
        else:
            paint = skia.Paint(AntiAlias=True, Color=skia.Color(*self.tint(colour)))
            if gloss and self.style in ("anime style", "pastel style"):
                paint.setShader(self._vertical(path.getBounds(), light(colour, 0.22), colour, dark(colour, 0.14)))
            self.canvas.drawPath(path, paint)
            if line and self.style in LINE_WIDTH:
                self._ink(path, self.line_colour(colour), width or LINE_WIDTH[self.style])

    def _vertical(self, box: skia.Rect, *colours: Colour) -> skia.Shader:
        """A gradient over the height of a box."""
        return skia.GradientShader.MakeLinear(
            points=[(0, box.top()), (0, box.bottom())], colors=[skia.Color(*self.tint(c)) for c in colours]
        )

    def _ink(self, path: skia.Path, colour: Colour, width: float, alpha: int = 255) -> None:
        """A plain line."""
        self.canvas.drawPath(
            path,
            skia.Paint(
                AntiAlias=True,
                Style=skia.Paint.kStroke_Style,
                StrokeWidth=width,
                StrokeJoin=skia.Paint.kRound_Join,
                StrokeCap=skia.Paint.kRound_Cap,
                Color=skia.Color(*colour, alpha),
            ),
        )

    def _pencil(self, path: skia.Path, width: float = 1.0, alpha: int = 210) -> None:
        """Two thin shaky lines."""
        for k in range(2):
            line = moved(path, self.rng.uniform(-0.5, 0.5), self.rng.uniform(-0.5, 0.5))
            self.canvas.drawPath(
                line,
                skia.Paint(
                    AntiAlias=True,
                    Style=skia.Paint.kStroke_Style,
                    StrokeWidth=width * (0.7, 0.9)[k],
                    Color=skia.Color(66, 62, 68, max(0, alpha - 60 * k)),
                    PathEffect=skia.DiscretePathEffect.Make(5, 0.45, self.rng.randrange(1 << 20)),
                ),
            )

    def _neon(self, path: skia.Path, colour: Colour, width: float | None = None) -> None:
        """A glowing line."""
        width = width or 1.3
        self.canvas.drawPath(
            path,
            skia.Paint(
                AntiAlias=True,
                Style=skia.Paint.kStroke_Style,
                StrokeWidth=width * 2.6,
                Color=skia.Color(*colour, 150),
                MaskFilter=_blur(2.3),
            ),
        )
        self._ink(path, light(colour, 0.45), width)

    def _wash(self, path: skia.Path, colour: Colour, line: bool) -> None:
        """A shaky translucent area with a darker rim."""
        wobble = skia.DiscretePathEffect.Make(9, 0.6, self.rng.randrange(1 << 20))
        self.canvas.drawPath(
            path,
            skia.Paint(
                AntiAlias=True,
                Color=skia.Color(*light(colour, 0.10), 228),
                MaskFilter=_blur(0.6),
                PathEffect=wobble,
            ),
        )
        if line:
            self.canvas.drawPath(
                path,
                skia.Paint(
                    AntiAlias=True,
                    Style=skia.Paint.kStroke_Style,
                    StrokeWidth=1.4,
                    Color=skia.Color(*dark(colour, 0.48), 105),
                    MaskFilter=_blur(0.5),
                    PathEffect=wobble,
                ),
            )

    def _paper(self, path: skia.Path, colour: Colour, line: bool) -> None:
        """A cut piece of paper with shadow and bright edge."""
        if line:  # a soft shadow to the lower right and a bright cut edge to the upper left
            self.fill(moved(path, 1.5, 1.9), (40, 24, 40), 105, blur=1.5)
            self.fill(moved(path, -0.5, -0.5), light(colour, 0.62))
        paint = skia.Paint(AntiAlias=True)
        paint.setShader(self._vertical(path.getBounds(), light(colour, 0.10), dark(colour, 0.08)))
        self.canvas.drawPath(path, paint)

    def stroke(self, path: skia.Path, colour: Colour, width: float = 1.4, alpha: int = 255) -> None:
        """A line along a path."""
        if self.style == "sketch style":
            self._pencil(path, max(0.9, width * 0.8))
        elif self.style == "neon style":
            self._neon(path, colour if max(colour) > 90 else (210, 200, 230), max(0.9, width * 0.7))
        elif self.style == "comic style":
            self._ink(path, dark(colour, 0.5), width * 1.25, alpha)
        else:
            self._ink(path, self.tint(colour), width, alpha)

    def tone(self, path: skia.Path, colour: Colour, alpha: int = 255, clip: skia.Path | None = None) -> None:
        """Shading without outline: hatching, dots or a soft area; some styles leave it out."""
        if self.style in ("flat style", "neon style"):
            return
        self.canvas.save()
        if clip is not None:
            self.canvas.clipPath(clip, True)
        if self.style == "sketch style":
            self._hatch(path)
        elif self.style == "comic style":
            self._dots(path, colour)
        elif self.style == "watercolor style":
            self.fill(path, colour, alpha // 2, blur=2.0)
        elif self.style == "papercut style":
            self.fill(path, colour, alpha // 3)
        else:
            self.fill(path, self.tint(colour), alpha)
        self.canvas.restore()

    def _hatch(self, path: skia.Path) -> None:
        """Parallel pencil strokes."""
        box = path.getBounds()
        self.canvas.clipPath(path, True)
        pencil = skia.Paint(AntiAlias=True, StrokeWidth=0.6, Color=skia.Color(90, 86, 90, 130))
        y = box.top() - box.width()
        while y < box.bottom():
            self.canvas.drawLine(box.left(), y + box.width() * 0.8, box.right(), y, pencil)
            y += 2.6

    def _dots(self, path: skia.Path, colour: Colour) -> None:
        """Printed dots."""
        box = path.getBounds()
        self.canvas.clipPath(path, True)
        points = []
        row, y = 0, box.top()
        while y < box.bottom() + 2:
            x = box.left() + (row % 2) * 1.6
            while x < box.right() + 2:
                points.append(skia.Point(x, y))
                x += 3.2
            y, row = y + 1.8, row + 1
        if points:
            self.canvas.drawPoints(
                skia.Canvas.PointMode.kPoints_PointMode,
                points,
                skia.Paint(
                    AntiAlias=True,
                    StrokeWidth=1.9,
                    StrokeCap=skia.Paint.kRound_Cap,
                    Color=skia.Color(*dark(colour, 0.22)),
                ),
            )

    def glow(self, path: skia.Path, colour: Colour, alpha: int = 150, blur: float = 3.0) -> None:
        """Added light, for lamps, beams and sparks."""
        if self.style == "sketch style":
            self._pencil(path, 0.8, 130)
            return
        blend = skia.BlendMode.kScreen
        paint = skia.Paint(AntiAlias=True, Color=skia.Color(*self.tint(colour), alpha), BlendMode=blend)
        if blur:
            paint.setMaskFilter(_blur(blur))
        self.canvas.drawPath(path, paint)

    def gradient(self, top: Colour, bottom: Colour) -> None:
        """Fills the whole picture from top to bottom colour; the line styles keep their paper."""
        if self.style == "sketch style":
            self.canvas.clear(skia.Color(*SKETCH_PAPER))
            return
        if self.style == "neon style":
            self.canvas.clear(skia.Color(*NEON_NIGHT))
            return
        self.canvas.drawPaint(
            skia.Paint(
                Shader=skia.GradientShader.MakeLinear(
                    points=[(0, 0), (0, 128)],
                    colors=[skia.Color(*self.tint(top)), skia.Color(*self.tint(bottom))],
                )
            )
        )
