// Reading a prompt as a list of tags, finding words of the base's list, and naming those that it never saw.

// The tags of a prompt: weights, brackets and LoRA marks taken off, underscores as spaces.
export function tagsOf(prompt) {
  return prompt
    .replace(/<[^<>]*>/g, ",")
    .replace(/\b(AND|BREAK)\b/g, ",")
    .split(/[,，;；\n]/)
    .map(bare)
    .filter(Boolean);
}

export function bare(tag) {
  return tag
    .replace(/\\([()[\]])/g, "\u0001$1")
    .replace(/(?<!\u0001)[()[\]{}]/g, "")
    .replace(/\u0001/g, "")
    .replace(/:\s*-?\d+(\.\d+)?\s*$/, "")
    .replace(/_/g, " ")
    .replace(/\s+/g, " ")
    .trim()
    .toLowerCase();
}

export class Vocabulary {
  constructor(tags) {
    this.tags = tags.map(([tag, count, zh]) => ({ tag, count, zh, low: tag.toLowerCase() }));
    this.known = new Set(this.tags.map(({ low }) => low));
  }

  get empty() { return this.tags.length === 0; }

  // Words that begin with what was typed come first, then those that hold it, the frequent before the rare. Nothing for
  // a word that is written out: the list would cover what the person wants to press next.
  suggest(typed, limit = 8) {
    const low = bare(typed);
    if (!low || this.known.has(low)) return [];
    const ranked = [];
    for (const tag of this.tags) {
      const rank = this.rank(tag, low);
      if (rank !== null) ranked.push([rank, tag]);
    }
    ranked.sort((a, b) => a[0] - b[0] || b[1].count - a[1].count);
    return ranked.slice(0, limit).map(([, tag]) => tag);
  }

  rank({ low, zh }, typed) {
    if (low.startsWith(typed) || zh.startsWith(typed)) return 0;
    if (low.includes(` ${typed}`)) return 1;
    if (low.includes(typed) || zh.includes(typed)) return 2;
    return null;
  }

  // The tags that neither the base's list nor `others` (trigger words) has.
  unknown(prompt, others) {
    if (this.empty) return [];
    const also = new Set(others.flatMap(tagsOf));
    return [...new Set(tagsOf(prompt))].filter((tag) => !this.known.has(tag) && !also.has(tag));
  }
}

// The piece of text between commas at the caret: [start, end) and its text.
export function pieceAt(text, caret) {
  const cut = /[,，;；\n]/;
  let start = caret;
  while (start > 0 && !cut.test(text[start - 1])) start -= 1;
  let end = caret;
  while (end < text.length && !cut.test(text[end])) end += 1;
  while (start < caret && text[start] === " ") start += 1;
  return { start, end, typed: text.slice(start, caret) };
}
