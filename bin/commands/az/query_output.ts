/**
 * Answers as Azure CLI prints them: its queries, and its formats.
 *
 * @module
 */
import { readEnvironment } from "../../../lib/runtime/host.ts";
import { isTerminal } from "../../../lib/runtime/terminal.ts";
import { LatchkeyError } from "../../../lib/errors.ts";
import { UsageError } from "../../cli/command_line.ts";
import { escapeForTerminal, jsonForTerminal } from "../../../lib/control_characters.ts";

/** An answer, and how it is to be printed. */
interface AzAnswer {
  /** JSON; `undefined` prints nothing. */
  readonly value: unknown;
  readonly output: string;
  readonly query?: string | undefined;
  /** Returns the rows of `-o table`, if they are not the answer's own. Not used with a query. */
  readonly tableOf?: ((value: unknown) => unknown) | undefined;
}

type Row = Readonly<Record<string, unknown>>;

/**
 * Returns the text of an answer.
 *
 * @throws {UsageError} if the query is not one.
 * @throws {LatchkeyError} `refused` if the query fails, or a table cannot have the answer.
 */
export async function azOutput({ value, output, query, tableOf }: AzAnswer): Promise<string> {
  const isQueried = query !== undefined;
  const compiled = isQueried ? await compileQuery(query) : undefined;
  // Objects that a query makes have its order; all others are printed in order of their keys.
  const answered = new Set<unknown>();
  const plain = copyOf(value, answered);
  const result = compiled ? compiled(plain) : plain;
  if (result === undefined || result === null || output === "none") return "";
  switch (output) {
    case "json":
    case "jsonc": {
      const json = `${jsonForTerminal(sorted(result), { indent: 2 })}\n`;
      return output === "jsonc" && isTerminal("stdout") && !readEnvironment("NO_COLOR") ? colored(json) : json;
    }
    case "yaml":
    case "yamlc":
      return await yamlOf(sorted(result));
    case "tsv":
      return [result].flat(1).map((row) => `${tsvRow(row, answered)}\n`).join("");
    default: {
      const rows = tableOf && !isQueried ? tableOf(result) : result;
      const isInOrder = isQueried || tableOf !== undefined;
      return table(isInOrder ? [rows].flat(1) : [rows].flat(1).map((row) => isRow(row) ? ordered(row) : row));
    }
  }
}

function isRow(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** All that jmespath.js needs of a prototype. */
const PROTOTYPE: object = Object.create(null, { hasOwnProperty: { value: Object.prototype.hasOwnProperty } });

/** Copies JSON without its prototypes: a query for `__proto__` or `constructor` finds what is in the answer, and nothing else. */
function copyOf(value: unknown, copies: Set<unknown>): unknown {
  if (Array.isArray(value)) return value.map((each) => copyOf(each, copies));
  if (!isRow(value)) return value;
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  const copy: Row = Object.assign(
    Object.create(PROTOTYPE),
    Object.fromEntries(entries.map(([key, each]) => [key, copyOf(each, copies)])),
  );
  copies.add(copy);
  return copy;
}

function ordered(row: Row): Row {
  const keys = Object.keys(row).sort();
  return Object.fromEntries(keys.map((key) => [key, row[key]]));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isRow(value)) return value;
  return Object.fromEntries(Object.entries(ordered(value)).map(([key, each]) => [key, sorted(each)]));
}

/** Longer ones are nobody's. */
const MAX_QUERY_CHARACTERS = 16_384;
/**
 * Values in the result of a query. `{a:@,b:@}|{a:@,b:@}|…` refers to the same value again and again: the result is small in memory,
 * and would be printed with 2 to the power of its length.
 */
const MAX_RESULT_VALUES = 1_000_000;
/** A literal in a query: raw, quoted, or JSON. The last alternative is one that is not closed, which jmespath.js takes for whole. */
const LITERAL = /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`|['"`]/gs;

type JmesPath = typeof import("jmespath") & { compile(query: string): QueryNode | undefined };

/** A part of a query. */
interface QueryNode {
  readonly name?: unknown;
  readonly children?: readonly (QueryNode | null | undefined)[];
}

/**
 * Returns false for a query such as `a.`, which jmespath.js reads without its end, and for its own key in prototypes. A slice has
 * numbers or nulls in it.
 */
function isWhole(node: QueryNode | null | undefined): boolean {
  if (node === undefined) return false;
  if (node === null || typeof node !== "object") return true;
  return node.name !== "hasOwnProperty" && (node.children ?? []).every(isWhole);
}

async function compileQuery(query: string): Promise<(value: unknown) => unknown> {
  // Its types lack the half that reads a query.
  const { compile, search } = (await import("jmespath")).default as JmesPath;
  const invalid = (reason: string) =>
    new UsageError(`argument --query: invalid JMESPath ${JSON.stringify(query)}: ${reason}`);
  if (query.length > MAX_QUERY_CHARACTERS) throw new UsageError("argument --query: it is too long");
  if (query.match(LITERAL)?.some(({ length }) => length === 1)) throw invalid("a quotation mark is not closed");
  try {
    if (!isWhole(compile(query))) throw new Error("it ends too soon");
  } catch (error) {
    throw invalid(error instanceof RangeError ? "it is nested too deeply" : reasonOf(error));
  }
  return (value) => {
    const result = searchOrRefuse(() => search(value, query));
    if (!hasMoreValues(result, MAX_RESULT_VALUES)) return result;
    const limit = MAX_RESULT_VALUES.toLocaleString("en-US");
    throw new LatchkeyError("refused", `The result of \`--query\` has more than ${limit} values`, {
      remedy: "Select fewer values",
    });
  };
}

/** @throws {LatchkeyError} `refused` if the query fails. */
function searchOrRefuse(search: () => unknown): unknown {
  try {
    return search();
  } catch (error) {
    const reason = error instanceof RangeError ? "it is nested too deeply" : reasonOf(error);
    throw new LatchkeyError("refused", `Invalid jmespath query supplied for \`--query\`: ${reason}`);
  }
}

/** Returns true if a value and all that it contains, printed as a tree, are more than a number of values. */
function hasMoreValues(value: unknown, limit: number): boolean {
  const left = [value];
  for (let count = 1; count <= limit; count++) {
    if (left.length === 0) return false;
    const next = left.pop();
    if (typeof next !== "object" || next === null) continue;
    for (const each of Object.values(next)) left.push(each);
  }
  return left.length > 0;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function yamlOf(value: unknown): Promise<string> {
  const { stringify } = await import("yaml");
  // As PyYAML writes it, for readers of YAML 1.1.
  const text = stringify(value, { version: "1.1", lineWidth: 0, indentSeq: false, singleQuote: true });
  return text.split("\n").map(escapeForTerminal).join("\n");
}

/** Returns a scalar as Python prints it. */
function pythonText(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function tsvRow(row: unknown, answered: ReadonlySet<unknown>): string {
  if (typeof row === "boolean") return String(row);
  if (typeof row !== "object" || row === null) return tsvCell(row);
  const inOrder = Array.isArray(row) ? row : Object.values(answered.has(row) ? ordered(row as Row) : row);
  return inOrder.map(tsvCell).join("\t");
}

/** A list is its length, and an object is empty, so that rows have the same cells. */
function tsvCell(value: unknown): string {
  if (Array.isArray(value)) return String(value.length);
  return isRow(value) ? "" : escapeForTerminal(pythonText(value));
}

/** Keys that Azure CLI leaves out of tables. */
const NOT_IN_TABLES: readonly string[] = ["id", "type", "etag"];
const PADDING = 2;

/** Formats rows as Python's tabulate does by its format `simple`. */
function table(rows: readonly unknown[]): string {
  const cells = rows.map(tableRow);
  const columns = [...new Set(cells.flatMap((row) => [...row.keys()]))];
  if (columns.length === 0) return "\n";
  const widths = columns.map((name) =>
    Math.max(name.length + PADDING, ...cells.map((row) => (row.get(name) ?? "").length))
  );
  const line = (texts: readonly string[]) => texts.map((text, at) => text.padEnd(widths[at]!)).join("  ").trimEnd();
  const all = [
    columns,
    widths.map((width) => "-".repeat(width)),
    ...cells.map((row) => columns.map((name) => row.get(name) ?? "")),
  ];
  return all.map((texts) => `${line(texts)}\n`).join("");
}

function tableRow(row: unknown): ReadonlyMap<string, string> {
  const cell = (value: unknown) => value === null ? "" : escapeForTerminal(pythonText(value));
  if (Array.isArray(row)) return new Map(row.map((value, at) => [`Column${at + 1}`, cell(value)]));
  if (!isRow(row)) return new Map([["Result", cell(row)]]);
  const shown = Object.entries(row).filter(([key, value]) =>
    !NOT_IN_TABLES.includes(key) && value !== null && typeof value !== "object"
  );
  return new Map(
    shown.map(([key, value]) => [escapeForTerminal(key.slice(0, 1).toUpperCase() + key.slice(1)), cell(value)]),
  );
}

/** A key with its colon, a string, or a word of JSON. */
const JSON_PART = /("(?:[^"\\]|\\.)*")(?=:)|("(?:[^"\\]|\\.)*")|\b(true|false|null|-?\d[\d.eE+-]*)\b/g;

function colored(json: string): string {
  return json.replace(JSON_PART, (part, key, string) => `\x1b[${colorOf({ key, string })}m${part}\x1b[39m`);
}

/** Returns the ANSI code of a part's color. */
function colorOf({ key, string }: { readonly key?: string; readonly string?: string }): string {
  if (key) return "94";
  return string ? "33" : "34";
}

type Rows = readonly Readonly<Record<string, unknown>>[];

/** Returns Azure CLI's columns for a list of accounts. */
export function accountTable(accounts: unknown): unknown {
  return (accounts as Rows).map(({ name, cloudName, id, tenantId, state, isDefault }) => ({
    ...{ Name: name, CloudName: cloudName, SubscriptionId: id, TenantId: tenantId, State: state, IsDefault: isDefault },
  }));
}

/** Returns Azure CLI's columns for a list of clouds. */
export function cloudTable(clouds: unknown): unknown {
  return (clouds as Rows).map(({ isActive, name, profile }) => ({
    IsActive: isActive,
    Name: name,
    Profile: profile,
  }));
}
