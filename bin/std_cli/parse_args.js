// Stands in for jsr:@std/cli/parse-args, because JSR cannot be reached where only npm can.
// It does what the documentation says of the options in `parse_args.d.ts`; other options, dotted names and numbers are left out.

/** The package at JSR has no such name: a program can tell which of the two it was built with. */
export const STAND_IN = true;

const listed = (value = []) => [value].flat();

export function parseArgs(args, options = {}) {
  const { "--": keepsRest = false, alias = {}, default: defaults = {}, stopEarly = false } = options;
  const sameOption = Object.entries(alias).map(([name, others]) => [name, ...listed(others)]);
  const namesOf = (name) => sameOption.find((names) => names.includes(name)) ?? [name];
  const declared = (names) => new Set(listed(names).flatMap(namesOf));
  const strings = declared(options.string);
  const booleans = declared(options.boolean);
  const collected = declared(options.collect);
  const negatable = declared(options.negatable);

  const end = args.indexOf("--");
  const rest = end === -1 ? [] : args.slice(end + 1);
  const queue = end === -1 ? [...args] : args.slice(0, end);
  const positionals = [];
  // A Map, so that a foreign name such as `__proto__` is a key like any other.
  const values = new Map();

  const set = (name, value) => {
    for (const each of namesOf(name)) {
      const collects = collected.has(each);
      values.set(each, collects ? [...(values.get(each) || []), value] : value);
    }
  };
  const bare = (name) => strings.has(name) ? "" : true;
  const valueFromNext = (name, looksLikeOption) => {
    const [next] = queue;
    if (next && !booleans.has(name) && !looksLikeOption.test(next)) return queue.shift();
    if (next === "true" || next === "false") return queue.shift() === "true";
    return bare(name);
  };

  const readLong = (argument) => {
    const [, no, name, value] = /^--(no-)?(.+?)(?:=(.+))?$/s.exec(argument);
    if (value !== undefined) set(name, booleans.has(name) ? value !== "false" : value);
    else if (no && negatable.has(name)) namesOf(name).forEach((each) => values.set(each, false));
    else set((no ?? "") + name, valueFromNext((no ?? "") + name, /^-/));
  };

  const readLetters = (letters) => {
    for (let at = 0; at < letters.length; at++) {
      const letter = letters[at];
      const tail = letters.slice(at + 1);
      const value = attachedValue(letter, tail);
      if (value !== undefined) return set(letter, value);
      if (tail) set(letter, bare(letter));
      else if (letter !== "-") set(letter, valueFromNext(letter, /^--?[^-]/));
    }
  };

  while (queue.length > 0) {
    const argument = queue.shift();
    if (/^--./s.test(argument)) readLong(argument);
    else if (/^-./s.test(argument)) readLetters(argument.slice(1));
    else {
      positionals.push(argument);
      if (stopEarly) positionals.push(...queue.splice(0));
    }
  }

  for (const [name, value] of Object.entries(defaults)) {
    if (!values.has(name)) namesOf(name).forEach((each) => values.set(each, value));
  }
  for (const name of [...booleans, ...strings]) {
    if (values.has(name) || name === "_") continue;
    if (collected.has(name)) values.set(name, []);
    else if (booleans.has(name)) values.set(name, false);
  }
  if (keepsRest) values.set("--", rest);
  else positionals.push(...rest);
  return Object.fromEntries([["_", positionals], ...values]);
}

/** The value within a group of letters, `tail` being what follows the letter: `-n5`, `-n=5`, `-I/usr`, `-f-`. */
function attachedValue(letter, tail) {
  if (tail === "-") return tail;
  if (/[A-Za-z]/.test(letter)) {
    const value = /=(.+)/.exec(tail)?.[1];
    if (value !== undefined) return value;
    if (/-?\d+(\.\d*)?(e-?\d+)?$/.test(tail)) return tail;
  }
  return /^\W./s.test(tail) ? tail : undefined;
}
