"""Where the shop's customers live: shares, languages, zones, and given names as people there write them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Market:
    """`customers` people; `zones` and `devices` (ios, android, web) are drawn by weight."""

    country: str
    locale: str
    customers: int
    zones: dict[str, int]
    devices: tuple[int, int, int]
    names: tuple[str, ...]
    mailbox_names: tuple[str, ...]


MARKETS = (
    Market(
        "KR", "ko-KR", 760, {"Asia/Seoul": 1}, (3, 6, 2),
        ("김민준", "이서연", "박도윤", "최지우", "정하준", "강서윤", "조은우", "윤하은"),
        ("minjun", "seoyeon", "doyun", "jiwoo", "hajun", "seoyun", "eunwoo", "haeun"),
    ),
    Market(
        "CN", "zh-Hans-CN", 340, {"Asia/Shanghai": 30, "Asia/Urumqi": 1}, (3, 6, 1),
        ("王伟", "李娜", "张敏", "刘洋", "陈静", "杨磊", "赵雪", "黄强"),
        ("wangwei", "lina", "zhangmin", "liuyang", "chenjing", "yanglei", "zhaoxue", "huangqiang"),
    ),
    Market(
        "JP", "ja-JP", 400, {"Asia/Tokyo": 1}, (6, 4, 2),
        ("佐藤 陽菜", "鈴木 蓮", "高橋 結衣", "田中 湊", "伊藤 葵", "渡辺 樹", "山本 凛", "中村 悠真"),
        ("hina.sato", "ren.suzuki", "yui.takahashi", "minato.tanaka", "aoi.ito", "itsuki.watanabe", "rin", "yuma"),
    ),
    Market(
        "US", "en-US", 480,
        {"America/New_York": 47, "America/Chicago": 29, "America/Denver": 7, "America/Los_Angeles": 17}, (6, 4, 3),
        ("Olivia Brown", "Liam Davis", "Emma Garcia", "Noah Miller", "Ava Wilson", "James Moore", "Mia Lee", "Leo King"),
        ("olivia", "liam.davis", "emma", "noah.miller", "ava", "james", "mia.lee", "leo"),
    ),
    Market(
        "DE", "de-DE", 200, {"Europe/Berlin": 1}, (4, 5, 3),
        ("Anna Schäfer", "Jonas Weber", "Lea Müller", "Paul Köhler", "Clara Groß", "Felix Braun"),
        ("anna.schaefer", "jonas", "lea.mueller", "paul", "clara", "felix.braun"),
    ),
    Market(
        "AT", "de-AT", 30, {"Europe/Vienna": 1}, (4, 5, 3),
        ("Sophie Huber", "Lukas Gruber", "Marie Wagner"), ("sophie", "lukas.gruber", "marie"),
    ),
    Market(
        "FR", "fr-FR", 100, {"Europe/Paris": 1}, (4, 5, 2),
        ("Chloé Martin", "Hugo Bernard", "Inès Dubois", "Léo Moreau"), ("chloe", "hugo.bernard", "ines", "leo.moreau"),
    ),
    Market(
        "ES", "es-ES", 60, {"Europe/Madrid": 19, "Atlantic/Canary": 1}, (2, 7, 2),
        ("Lucía Fernández", "Mateo García", "Sofía López"), ("lucia", "mateo.garcia", "sofia"),
    ),
    Market(
        "NL", "nl-NL", 40, {"Europe/Amsterdam": 1}, (5, 5, 3),
        ("Emma de Vries", "Daan Jansen", "Julia Bakker"), ("emma.de.vries", "daan", "julia"),
    ),
    Market(
        "SE", "sv-SE", 50, {"Europe/Stockholm": 1}, (6, 4, 2),
        ("Alva Lindström", "Elias Åberg", "Maja Sjöberg"), ("alva", "elias.aberg", "maja"),
    ),
)  # fmt: skip
"""2,460 people; 480 of them in six countries of the EU."""
