/**
 * What kind of value JSON has brought.
 *
 * @module
 */

/** Whether it is an object and no array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
