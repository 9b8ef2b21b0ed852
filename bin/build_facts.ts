/**
 * What a build says of itself.
 *
 * @module
 */

/** What a build says of itself. */
export interface BuildFacts {
  /** The sources, a bundle of them for any machine that has a runtime, or an executable with a runtime inside. */
  readonly kind: "source" | "bundle" | "executable";
  /** Which machines an executable is for, as its compiler calls them; `null` for what is no executable. */
  readonly target: string | null;
  /** Commit that it was made from, with `-dirty` behind it where files had been changed; `null` where that is not known. */
  readonly commit: string | null;
}

/** A bundler puts the facts in place of this name; the sources have none. */
declare const LATCHKEY_BUILD: BuildFacts | undefined;

/** What the running program was built as. */
export function buildFacts(): BuildFacts {
  // A name that nothing stands for may be asked for its type alone.
  return typeof LATCHKEY_BUILD === "undefined" ? { kind: "source", target: null, commit: null } : LATCHKEY_BUILD;
}
