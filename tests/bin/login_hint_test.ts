// What to type when a person is needed, of a command line by itself.
import { expect, test } from "bun:test";
import { readCommandLine } from "../../bin/command_line.ts";
import { COMMANDS } from "../../bin/command_table.ts";
import { withLoginHint } from "../../bin/login_hint.ts";
import { LatchkeyError } from "../../mod.ts";

test("withLoginHint() has the sign-in pass the broker where the command does", () => {
  const kube = COMMANDS.find(({ name }) => name === "kube")!;
  const line = readCommandLine(kube, ["--client-id", "azure-cli", "--broker", "never"]);
  const error = withLoginHint(new LatchkeyError("interaction_required", "Nobody is signed in"), line, ["User.Read"]);
  expect(error).toMatchObject({
    hint: expect.stringContaining("latchkey login --client-id azure-cli --broker never --scope User.Read"),
  });
});
