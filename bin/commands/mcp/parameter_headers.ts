/**
 * Headers that mirror arguments of tools, as some tools declare (`x-mcp-header`, in the protocol since 2026-07-28).
 *
 * @module
 */
import { isObject, type JsonObject } from "../../../lib/encoding.ts";
import { isModern } from "./messages.ts";

/** Headers of the tools in a list that the client has requested. */
export class ParameterHeaders {
  readonly #paths = new Map<string, readonly (readonly [header: string, path: readonly string[]])[]>();

  /** Reads the response to `tools/list`. */
  learn({ tools }: JsonObject): void {
    for (const tool of Array.isArray(tools) ? tools : []) {
      if (!isObject(tool) || typeof tool.name !== "string") continue;
      const paths = declarations(tool.inputSchema, []);
      if (paths.length > 0) this.#paths.set(tool.name, paths);
      else this.#paths.delete(tool.name);
    }
  }

  /** Returns the headers of a message. */
  of({ method, params }: JsonObject): Record<string, string> {
    if (method !== "tools/call" || !isObject(params) || !isModern({ params })) return {};
    const headers: Record<string, string> = {};
    for (const [header, path] of this.#paths.get(String(params.name)) ?? []) {
      const value = path.reduce<unknown>((at, key) => isObject(at) ? at[key] : undefined, params.arguments);
      if (["string", "boolean"].includes(typeof value) || Number.isFinite(value)) {
        headers[`mcp-param-${header}`] = headerValue(String(value));
      }
    }
    return headers;
  }
}

const MAX_SCHEMA_DEPTH = 20;

function declarations(schema: unknown, path: readonly string[]): readonly (readonly [string, readonly string[]])[] {
  if (!isObject(schema) || path.length > MAX_SCHEMA_DEPTH) return [];
  const header = schema["x-mcp-header"];
  const isHeader = typeof header === "string" && /^[!#$%&'*+.^_`|~\w-]+$/.test(header);
  const below = isObject(schema.properties) ? Object.entries(schema.properties) : [];
  return [
    ...isHeader && path.length > 0 ? [[header, path] as const] : [],
    ...below.flatMap(([key, value]) => declarations(value, [...path, key])),
  ];
}

/** Returns the value of a header. A string that no header can have is in base64, between marks. */
function headerValue(text: string): string {
  const isPlain = /^[\x20-\x7e\t]+$/.test(text) && text === text.trim() && !/^=\?base64\?.*\?=$/.test(text);
  if (isPlain) return text;
  const bytes = new TextEncoder().encode(text);
  return `=?base64?${btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))}?=`;
}
