/** Writes the package's declarations so that they compile in any program, whatever libraries TypeScript has been given. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import process from "node:process";
import { type ESTree, parseSync } from "rolldown/utils";
import { findTool } from "../tests/tools/find_tool.js";
import { ROOT } from "./bundle.ts";

/** Ends of the names of a source, of its declarations, and of the module that imports of the declarations name. */
const SOURCE = /\.ts$/;
const DECLARATION = ".d.ts";
const MODULE = ".js";

/** Name of the module that stands for the Web's types. */
const WEB_TYPES = "web_types";

/** Returns the type of a class of the Web, by its constructor. */
const ofClass = (name: string): string =>
  `typeof globalThis extends { ${name}: { prototype: infer Type } } ? Type : Missing`;

/**
 * The Web's types in our declarations. A program may have them from TypeScript's library `dom`, from a package of types, or not at
 * all, and a name that nothing declares is an error.
 */
const WEB: Readonly<Record<string, string>> = {
  AbortSignal: ofClass("AbortSignal"),
  Request: ofClass("Request"),
  RequestInit: "typeof globalThis extends { Request: new (input: any, init?: infer Type) => any } ? " +
    "NonNullable<Type> : Missing",
  Response: ofClass("Response"),
  URL: ofClass("URL"),
  URLSearchParams: ofClass("URLSearchParams"),
};

/** Names of TypeScript's library `esnext.disposable`, which no default of TypeScript has. */
const DISPOSABLE = /\b(?:Async)?Disposable\b|\bSymbol\.(?:asyncDispose|dispose)\b/;

/** Writes the declarations that can be reached from the entries' exports. */
export async function declareTypes(sources: readonly string[], folder: string): Promise<void> {
  const temporary = await mkdtemp(join(tmpdir(), "latchkey-types-"));
  try {
    await emitDeclarations(sources, temporary);
    const files = new Map<string, DeclarationFile>();
    const open = async (path: string): Promise<DeclarationFile> => {
      const known = files.get(path);
      if (known) return known;
      const file = new DeclarationFile(path, await readFile(join(temporary, path), "utf8"));
      files.set(path, file);
      return file;
    };
    for (const source of sources) {
      const entry = await open(source.slice(2).replace(SOURCE, DECLARATION));
      await keepAll(entry, open);
    }
    for (const file of files.values()) await Bun.write(join(folder, file.path), file.text());
    await Bun.write(join(folder, `${WEB_TYPES}${DECLARATION}`), webTypes());
  } finally {
    await rm(temporary, { recursive: true });
  }
}

async function emitDeclarations(sources: readonly string[], folder: string): Promise<void> {
  // Below the checkout, since TypeScript looks for packages of types from the configuration's folder.
  const config = join(ROOT, "dist/tsconfig.json");
  await Bun.write(
    config,
    JSON.stringify({
      extends: "../tsconfig.json",
      compilerOptions: { noEmit: false, declaration: true, emitDeclarationOnly: true, outDir: folder, rootDir: ROOT },
      include: [],
      files: sources.map((source) => join(ROOT, source)),
    }),
  );
  const command = [process.execPath, findTool("tsc"), "--project", config];
  const { exitCode, stdout } = Bun.spawnSync(command, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  await rm(config);
  if (exitCode !== 0) throw new Error(`tsc failed:\n${stdout}`);
}

/** Keeps all exports of a file, and what they refer to in others. */
async function keepAll(
  entry: DeclarationFile,
  open: (path: string) => Promise<DeclarationFile>,
): Promise<void> {
  const wanted = entry.exports().map((name) => ({ file: entry, name }));
  for (const { file, name } of wanted) { // an array visits what is added meanwhile
    for (const { path, name: other } of file.keep(name)) wanted.push({ file: await open(path), name: other });
  }
}

/** A name that another file exports. */
interface Reference {
  readonly path: string;
  readonly name: string;
}

/** A statement of a file, with the comments before it. */
interface Statement {
  readonly text: string;
  readonly node: ESTree.Statement | ESTree.Directive;
}

/** One file of declarations, of which only some statements are kept. */
class DeclarationFile {
  /** Path below the folder of all declarations. */
  readonly path: string;
  readonly #statements: readonly Statement[];
  readonly #kept = new Set<Statement>();
  readonly #names = new Set<string>();

  constructor(path: string, text: string) {
    this.path = path;
    const { program, errors } = parseSync(path, text);
    if (errors.length > 0) throw new Error(`${path}: ${errors[0]!.message}`);
    const starts = [0, ...program.body.map(({ end }) => end)];
    this.#statements = program.body.map((node, index) => ({ node, text: text.slice(starts[index], node.end).trim() }));
  }

  /** Returns the names that the file exports. */
  exports(): readonly string[] {
    return this.#statements.flatMap(({ node }) => {
      if (node.type !== "ExportNamedDeclaration") return [];
      return node.declaration ? namesOf(node.declaration) : node.specifiers.map(({ exported }) => nameOf(exported));
    });
  }

  /** Keeps the declaration of a name. Returns what it refers to in other files. */
  keep(name: string): readonly Reference[] {
    if (this.#names.has(name)) return [];
    this.#names.add(name);
    return this.#statements.flatMap((statement) => {
      const { node } = statement;
      if (node.type === "ImportDeclaration") return this.#imported(node, name);
      if (node.type === "ExportNamedDeclaration" && node.source) return this.#reexported(node, name);
      const declared = node.type === "ExportNamedDeclaration" ? node.declaration : node;
      if (!declared || this.#kept.has(statement) || !namesOf(declared).includes(name)) return [];
      this.#kept.add(statement);
      // More words than names is no harm: the others are declared nowhere.
      const words = new Set(withoutComments(statement.text).match(/[\w$]+/g));
      return [...words].flatMap((word) => this.keep(word));
    });
  }

  #imported({ source, specifiers }: ESTree.ImportDeclaration, name: string): readonly Reference[] {
    return specifiers.filter(({ local }) => local.name === name).flatMap((specifier) => {
      if (specifier.type !== "ImportSpecifier") throw new Error(`${this.path} imports ${name} as a whole module`);
      return this.#reference(source.value, nameOf(specifier.imported));
    });
  }

  #reexported({ source, specifiers }: ESTree.ExportNamedDeclaration, name: string): readonly Reference[] {
    return specifiers.filter(({ exported }) => nameOf(exported) === name)
      .flatMap(({ local }) => this.#reference(source!.value, nameOf(local)));
  }

  #reference(specifier: string, name: string): readonly Reference[] {
    if (!specifier.startsWith(".")) return []; // a package's
    return [{ path: join(dirname(this.path), specifier.replace(SOURCE, DECLARATION)), name }];
  }

  /** Returns the kept statements, with the imports that they need. */
  text(): string {
    const kept = this.#statements.flatMap((statement) => {
      const { node } = statement;
      if (node.type === "ImportDeclaration") return this.#importText(node);
      const isReexport = node.type === "ExportNamedDeclaration" && node.source;
      if (isReexport) return statement.text.replace(/\.ts("|')(;?)$/, `${MODULE}$1$2`);
      return this.#kept.has(statement) ? [statement.text] : [];
    });
    const body = kept.join("\n");
    const code = withoutComments(body);
    const web = Object.keys(WEB).filter((name) => new RegExp(`(?<![.\\w])${name}\\b(?!\\s*[:?])`).test(code));
    const path = relative(dirname(this.path), `${WEB_TYPES}${MODULE}`);
    return [
      ...(DISPOSABLE.test(code) ? ['/// <reference lib="esnext.disposable" />'] : []),
      ...(web.length > 0
        ? [`import type { ${web.join(", ")} } from "${path.startsWith(".") ? path : `./${path}`}";`]
        : []),
      body,
      "export {};\n",
    ].join("\n");
  }

  #importText({ source, specifiers }: ESTree.ImportDeclaration): readonly string[] {
    const needed = specifiers.filter(({ local }) => this.#names.has(local.name)).map((specifier) => {
      const { name } = specifier.local;
      const imported = specifier.type === "ImportSpecifier" ? nameOf(specifier.imported) : "";
      return imported === name ? name : `${imported} as ${name}`;
    });
    if (needed.length === 0) return [];
    return [`import type { ${needed.join(", ")} } from "${source.value.replace(SOURCE, MODULE)}";`];
  }
}

/** Returns the names that a statement declares. */
function namesOf(node: ESTree.Statement | ESTree.Directive | ESTree.Declaration): readonly string[] {
  if (node.type === "VariableDeclaration") {
    return node.declarations.flatMap(({ id }) => id.type === "Identifier" ? id.name : []);
  }
  return "id" in node && node.id?.type === "Identifier" ? [node.id.name] : [];
}

function nameOf(name: ESTree.ModuleExportName): string {
  return name.type === "Literal" ? name.value : name.name;
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*.*?\*\/|\/\/[^\n]*/gs, "");
}

function webTypes(): string {
  return `/** The Web's types as the program knows them. In one that does not, nothing is known of their values. */
type Missing = any;
${Object.entries(WEB).map(([name, type]) => `export type ${name} = ${type};`).join("\n")}
`;
}
