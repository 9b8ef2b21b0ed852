import { expect, test } from "bun:test";
import { requireStrictHttp } from "../../../../bin/commands/serve/upstream.ts";
import { LatchkeyError } from "../../../../lib/errors.ts";
import { failure } from "../../../fixture.ts";

// The HTTP of older runtimes takes messages with two lengths, or never cuts off a client that sends nothing.
test.each<["Deno" | "Bun" | "Node", string, string]>([
  ["Deno", "2.6.10", "2.8"],
  ["Deno", "2.7.14", "2.8"],
  ["Bun", "1.3.9", "1.4"],
  ["Node", "22.17.1", "22.18"],
])("--upstream refuses %s %s, and names the first version that it takes", async (name, version, first) => {
  const error = await failure(Promise.try(() => requireStrictHttp({ name, version })));
  expect(error).toBeInstanceOf(LatchkeyError);
  expect(error).toMatchObject({
    code: "missing_dependency",
    message: `--upstream needs ${name} ${first} or later, and this is ${name} ${version}`,
    hint: expect.stringContaining(`Install ${name} ${first} or later`),
  });
});

test.each<["Deno" | "Bun" | "Node", string]>([
  ["Deno", "2.8.0"],
  ["Deno", "2.10.1"],
  ["Bun", "1.4.0"],
  ["Node", "22.18.0"],
  ["Node", "24.0.0"],
])("--upstream takes %s %s", (name, version) => {
  requireStrictHttp({ name, version });
});
