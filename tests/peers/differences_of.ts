/** Where two JSON values differ, and how. */
export type Differences = Readonly<Record<string, readonly [unknown, unknown]>>;

/** @returns by paths such as `account.name`; a path ends where one of the two has no object */
export function differencesOf(one: unknown, other: unknown, path = ""): Differences {
  if (!isObject(one) || !isObject(other)) {
    return JSON.stringify(one) === JSON.stringify(other) ? {} : { [path]: [one, other] };
  }
  const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
  const below = [...keys].map((key) => differencesOf(one[key], other[key], path ? `${path}.${key}` : key));
  return Object.assign({}, ...below);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
