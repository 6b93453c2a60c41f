"""Writes `assets/base/words.json`: every tag that the base was trained on, its number of captions, its Chinese name.

    python -m pretrain.words [--counts pretrain/painter/words.json] [--out assets/base/words.json]

Tags with a colour are put together from the colour and the noun; all others stand in a table. A tag that neither covers
is an error, so the list can have no gap.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

COUNTS = Path(__file__).with_name("painter") / "words.json"
OUT = Path(__file__).resolve().parents[1] / "assets" / "base" / "words.json"

COLOURS = {
    "light brown": "浅棕",
    "black": "黑",
    "brown": "棕",
    "blonde": "金",
    "red": "红",
    "orange": "橙",
    "pink": "粉",
    "purple": "紫",
    "blue": "蓝",
    "aqua": "水蓝",
    "green": "绿",
    "silver": "银",
    "white": "白",
    "yellow": "黄",
    "grey": "灰",
}
COLOURED = {  # noun with a colour: {} is the colour
    "hair": "{}发",
    "eyes": "{}色眼睛",
    "inner hair": "{}色内层头发",
    "tips": "{}色发梢",
    "background": "{}色背景",
}
NOUNS = {  # with a colour: the colour, 色 and the name; alone: the name
    "dress": "连衣裙",
    "idol costume": "偶像服",
    "school uniform": "校服",
    "kimono": "和服",
    "hoodie": "连帽衫",
    "sweater": "毛衣",
    "t-shirt": "T恤",
    "collared shirt": "有领衬衫",
    "sailor collar": "水手领",
    "overalls": "背带裤",
    "maid outfit": "女仆装",
    "crescent hairpin": "月牙发卡",
    "crescent-shaped hairpin": "月牙形发卡",
    "star hairpin": "星星发卡",
    "star-shaped hairpin": "星形发卡",
    "hair flower": "头花",
    "headphones": "头戴式耳机",
    "hair bow": "蝴蝶结发饰",
    "hairband": "发箍",
    "beret": "贝雷帽",
    "bird": "小鸟",
    "penguin": "企鹅",
    "whale": "鲸鱼",
    "fish": "鱼",
    "butterfly": "蝴蝶",
    "apple": "苹果",
    "strawberry": "草莓",
    "flower": "花",
    "tree": "树",
    "house": "房子",
    "star": "星星",
    "heart": "爱心",
    "moon": "月亮",
    "mushroom": "蘑菇",
    "cupcake": "纸杯蛋糕",
    "ice cream": "冰淇淋",
    "umbrella": "雨伞",
    "balloon": "气球",
    "car": "汽车",
    "cup": "杯子",
    "ribbon": "缎带",
    "microphone": "麦克风",
}
LARGE = {"ribbon": "大缎带", "hair ribbon": "大发带"}  # after "large", with or without a colour
TAGS = {
    "anime style": "动漫风格",
    "pastel style": "柔彩风格",
    "flat style": "扁平风格",
    "comic style": "漫画风格",
    "watercolor style": "水彩风格",
    "pixel art style": "像素风格",
    "monochrome style": "黑白风格",
    "1girl": "一个女孩",
    "1boy": "一个男孩",
    "no humans": "没有人物",
    "masterpiece": "杰作",
    "best quality": "最佳质量",
    "low quality": "低质量",
    "worst quality": "最差质量",
    "detailed": "精细",
    "cute": "可爱",
    "blurry": "模糊",
    "jpeg artifacts": "JPEG压缩痕迹",
    "noise": "噪点",
    "lowres": "低分辨率",
    "washed out": "褪色",
    "long hair": "长发",
    "short hair": "短发",
    "bob cut": "波波头",
    "twintails": "双马尾",
    "ponytail": "单马尾",
    "twin braids": "双麻花辫",
    "single braid": "单麻花辫",
    "double bun": "双丸子头",
    "wavy hair": "波浪发",
    "curly hair": "卷发",
    "two-tone hair": "双色头发",
    "ahoge": "呆毛",
    "blunt bangs": "齐刘海",
    "straight bangs": "平直刘海",
    "swept bangs": "斜刘海",
    "parted bangs": "中分刘海",
    "messy bangs": "凌乱刘海",
    "closed eyes": "闭眼",
    "one eye closed": "闭一只眼",
    "looking down": "向下看",
    "looking to the side": "看向侧面",
    "angry": "生气",
    "sad": "难过",
    "smile": "微笑",
    "smiling": "面带微笑",
    "open mouth": "张嘴",
    "closed mouth": "闭嘴",
    "frown": "皱眉撇嘴",
    "surprised": "惊讶",
    "wavy mouth": "波浪嘴",
    "tongue out": "吐舌头",
    "upper teeth": "露出上排牙齿",
    "blush": "脸红",
    "freckles": "雀斑",
    "tears": "眼泪",
    "glasses": "眼镜",
    "sunglasses": "墨镜",
    "earrings": "耳环",
    "pale skin": "白皙皮肤",
    "tan skin": "小麦色皮肤",
    "dark skin": "深色皮肤",
    "off shoulders": "露肩",
    "choker": "颈圈",
    "gloves": "手套",
    "thigh strap": "大腿绑带",
    "frilled skirt": "荷叶边裙",
    "maid headdress": "女仆头饰",
    "straw hat": "草帽",
    "crown": "皇冠",
    "hair clip": "发夹",
    "hand up": "举起手",
    "holding microphone": "手持麦克风",
    "portrait": "肖像",
    "close-up": "特写",
    "upper body": "上半身",
    "cowboy shot": "七分身",
    "dynamic angle": "动态角度",
    "simple background": "简单背景",
    "starry background": "星星图案背景",
    "heart background": "爱心图案背景",
    "polka dot background": "圆点背景",
    "striped background": "条纹背景",
    "checkered background": "格子背景",
    "gradient background": "渐变背景",
    "sparkle background": "闪光图案背景",
    "scenery": "风景",
    "indoors": "室内",
    "sky": "天空",
    "night sky": "夜空",
    "sunset": "日落",
    "beach": "海滩",
    "forest": "森林",
    "cherry blossoms": "樱花",
    "snow": "雪",
    "city": "城市",
    "flower field": "花田",
    "stage": "舞台",
    "standing on stage": "站在舞台上",
    "spotlights": "聚光灯",
    "colorful lights": "彩色灯光",
    "laser light": "激光",
    "light particles": "光点",
    "colorful light particles": "彩色光点",
    "crowd": "人群",
    "crowd of audience": "台下观众",
    "glow sticks": "荧光棒",
    "glow stick": "单支荧光棒",
    "glow in the dark": "暗处发光",
    "small": "小",
}


def chinese(tag: str) -> str:
    """The Chinese name of a tag of the base. Raises KeyError for a tag that is not the base's."""
    if tag in TAGS:
        return TAGS[tag]
    if tag in NOUNS:
        return NOUNS[tag]
    if tag.startswith("large "):
        colour, noun = _split(tag.removeprefix("large "))
        return (f"{colour}色" if colour else "") + LARGE[noun]
    colour, noun = _split(tag)
    return COLOURED[noun].format(colour) if noun in COLOURED else f"{colour}色{NOUNS[noun]}"


def _split(tag: str) -> tuple[str, str]:
    """The Chinese colour at the front of a tag, or nothing, and what follows it."""
    for colour, name in COLOURS.items():
        if tag.startswith(f"{colour} "):
            return name, tag.removeprefix(f"{colour} ")
    return "", tag


def word_list(counts: dict[str, int]) -> list[dict[str, str | int]]:
    """The entries of words.json, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return [{"tag": tag, "count": count, "zh": chinese(tag)} for tag, count in ordered]


def render_list(entries: list[dict[str, str | int]]) -> str:
    """The text of words.json: one entry a line."""
    lines = [json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main() -> None:
    """Reads the command line and writes."""
    parser = argparse.ArgumentParser(prog="python -m pretrain.words", description=__doc__)
    parser.add_argument("--counts", type=Path, default=COUNTS, help="words.json of the painter's base set")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    entries = word_list(json.loads(options.counts.read_text(encoding="utf-8"))["tags"])
    options.out.write_text(render_list(entries), encoding="utf-8")
    print(f"{options.out}: {len(entries)} tags")


if __name__ == "__main__":
    main()
