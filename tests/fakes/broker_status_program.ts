// A program that says what it knows of its broker, as a line of JSON: its status, and what a call that needs it fails with.
//   broker_status_program.ts FLAG...      (enableBrokerOnWsl, enableBrokerOnLinux)
import { LatchkeyError, PublicClientApplication } from "../../mod.ts";

const words = typeof Deno === "undefined" ? process.argv.slice(2) : Deno.args;
const app = new PublicClientApplication({
  clientId: "11111111-2222-4333-8444-555555555555",
  ...Object.fromEntries(words.map((flag) => [flag, true])),
});
const status = await app.brokerStatus();
const failure = await app.getAccounts().then(() => null, (error) => {
  if (!(error instanceof LatchkeyError)) throw error;
  return { code: error.code, message: error.message, hint: error.hint };
});
(await import("../../lib/runtime/terminal.ts")).write("stdout", `${JSON.stringify({ status, failure })}\n`);
app.close();
