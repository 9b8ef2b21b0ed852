/** The colours of a picture, for a page that is light or dark. */
export interface Palette {
  readonly background: string;
  readonly text: string;
  readonly quiet: string;
  readonly ours: string;
  readonly others: string;
}

/** By the name that the picture's file ends in. Text has a contrast of 4.5 to 1 or more. */
export const PALETTES: Readonly<Record<"light" | "dark", Palette>> = {
  light: { background: "#ffffff", text: "#1f2328", quiet: "#59636e", ours: "#0a7f5a", others: "#8b949e" },
  dark: { background: "#0d1117", text: "#e6edf3", quiet: "#9198a1", ours: "#3fb98a", others: "#6e7681" },
};

/** Text as SVG has it. */
export function svgText(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
