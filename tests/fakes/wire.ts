/** The brokers' replies as JSON templates in `tests/wire`, one folder a sender. */
import { existsSync, readFileSync } from "node:fs";
import type { Sender } from "./behaviour.ts";

/**
 * A reply as a sender shapes it.
 *
 * @param name A method, `account`, `error` (of the token methods) or `error_at_top` (of all others).
 * @param values What `{{placeholders}}` stand for. One that is a whole string becomes the value with its JSON type.
 * @throws {Error} when a placeholder has no value
 */
export function fillWire(sender: Sender, name: string, values: Readonly<Record<string, unknown>> = {}): unknown {
  return fill(JSON.parse(readFileSync(wireFile(sender, `${name}.json`), "utf8")), values);
}

/** Whether a sender has that reply at all; a method without one it does not know. */
export function hasWire(sender: Sender, name: string): boolean {
  return existsSync(wireFile(sender, `${name}.json`));
}

/** What a sender says of itself when it is introspected, which only the first broker can be. */
export function readIntrospection(sender: Sender): string | undefined {
  const file = wireFile(sender, "introspection.xml");
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

function wireFile(sender: Sender, name: string): URL {
  return new URL(`../wire/${sender}/${name}`, import.meta.url);
}

function fill(template: unknown, values: Readonly<Record<string, unknown>>): unknown {
  if (typeof template === "string") {
    const whole = /^\{\{(\w+)\}\}$/.exec(template)?.[1];
    if (whole) return valueOf(whole, values);
    return template.replace(/\{\{(\w+)\}\}/g, (_, name: string) => String(valueOf(name, values)));
  }
  if (Array.isArray(template)) return template.map((item) => fill(item, values));
  if (typeof template !== "object" || template === null) return template;
  return Object.fromEntries(Object.entries(template).map(([key, value]) => [key, fill(value, values)]));
}

function valueOf(name: string, values: Readonly<Record<string, unknown>>): unknown {
  if (!Object.hasOwn(values, name)) throw new Error(`Cannot fill in a wire template: ${name} has no value`);
  return values[name];
}
