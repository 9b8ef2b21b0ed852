// Rules of `deno lint` that it does not have itself. deno.json names this file.

/** The product's sources, in which the rules hold. */
const SOURCES = /^(mod\.ts$|(lib|bin|build|examples)\/)/;
const ROOT = new URL("../../", import.meta.url);
/** Methods of the platform and of packages whose boolean argument is not ours to name: WebCrypto, `DataView`, `yaml`. */
const PLATFORM = /^(importKey|deriveKey|generateKey|(get|set)(Big)?(Int|Uint|Float)\d+|get|set)$/;

const plugin: Deno.lint.Plugin = {
  name: "latchkey",
  rules: {
    /** Refuses `call(value, true)` and `function (value, isNew: boolean)`: an options object names what is true. */
    "no-boolean-argument": {
      create(context): Deno.lint.LintVisitor {
        if (!isSource(context.filename)) return {};
        return {
          CallExpression: (call) => checkCall(call),
          NewExpression: (call) => checkCall(call),
          FunctionDeclaration: ({ params }) => checkParameters(params),
          FunctionExpression: ({ params }) => checkParameters(params),
          ArrowFunctionExpression: ({ params }) => checkParameters(params),
        };

        function checkCall({ arguments: values, callee }: Deno.lint.CallExpression | Deno.lint.NewExpression): void {
          const method = callee.type === "MemberExpression" && callee.property.type === "Identifier"
            ? callee.property.name
            : "";
          if (values.length < 2 || PLATFORM.test(method)) return;
          for (const node of values) {
            if (!isBoolean(node)) continue;
            context.report({ node, message: "A boolean among several arguments does not say what it means" });
          }
        }

        function checkParameters(parameters: readonly Deno.lint.Parameter[]): void {
          if (parameters.length < 2) return;
          for (const node of parameters) {
            const { name, value } = node.type === "AssignmentPattern"
              ? { name: node.left, value: node.right }
              : { name: node, value: undefined };
            const type = name.type === "Identifier" ? name.typeAnnotation?.typeAnnotation.type : undefined;
            if (type !== "TSBooleanKeyword" && !(value && isBoolean(value))) continue;
            context.report({
              range: node.range,
              message: "A boolean among several parameters says nothing at the call",
            });
          }
        }
      },
    },

    /** Refuses `() => name = value`, which Biome lets pass: a reader cannot tell it from a comparison, or a forgotten block. */
    "no-assignment-as-result": {
      create(context): Deno.lint.LintVisitor {
        if (!isSource(context.filename)) return {};
        return {
          ArrowFunctionExpression({ body }): void {
            if (body.type !== "AssignmentExpression") return;
            context.report({
              node: body,
              message: "A result that is an assignment: use a block, and return the value",
            });
          },
        };
      },
    },
  },
};

export default plugin;

function isSource(filename: string): boolean {
  const url = new URL(filename, ROOT).href;
  return url.startsWith(ROOT.href) && SOURCES.test(url.slice(ROOT.href.length));
}

function isBoolean(node: Deno.lint.Node): boolean {
  return node.type === "Literal" && typeof node.value === "boolean";
}
