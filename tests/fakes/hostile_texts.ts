/** What a peer can put into a text to deceive whoever reads it on a terminal, or a program that takes it for a line. */
export const HOSTILE_TEXTS: Readonly<Record<string, string>> = {
  "NUL": "a\0b",
  "escape sequences": "\u001b]0;title\u0007\u001b[31m\u001b[2J",
  "lines of its own": "no\r\nerror: none\nSet-Cookie: a=b\n\t",
  "control characters of the second set": "\u009b31m\u0085\u0090",
  "right-to-left marks": "\u202egnp.exe\u2066\u200f",
  "invisible characters": "\u200b\ufeff\u00ad\u{e0041}",
  "line separators": "\u2028error: none\u2029",
  "lone surrogates": "\ud800x\udc00",
};

/** All of it in one. */
export const HOSTILE_TEXT: string = Object.values(HOSTILE_TEXTS).join(" ");

/** The same without what D-Bus itself does not carry: NUL, and surrogates without the other half. */
export const HOSTILE_DBUS_TEXT: string = HOSTILE_TEXT.replaceAll("\0", "").replaceAll(/\p{Cs}/gu, "");

/** The characters by which such a text works. */
export const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
