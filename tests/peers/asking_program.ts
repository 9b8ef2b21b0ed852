// A program with a logger that gets a silent token, or opens a window for a moment, and closes nothing: asking_program.ts
// token|window. It prints its log, and then what it has.
import process from "node:process";
import { CONSOLE_WINDOW_HANDLE, LatchkeyError, PublicClientApplication } from "../../mod.ts";

const app = new PublicClientApplication({
  clientId: "11111111-2222-4333-8444-555555555555",
  enableBrokerOnLinux: true,
  requireBroker: true,
  logger: (level, message) => process.stdout.write(`${level} ${message}\n`),
});
const [how] = process.argv.slice(2);
try {
  const { account } = how === "window"
    ? await app.acquireToken({
      scopes: ["User.Read"],
      interactive: "always",
      parentWindowHandle: CONSOLE_WINDOW_HANDLE,
    })
    : await app.acquireToken({ scopes: ["User.Read"], interactive: "never" });
  process.stdout.write(`token of ${account.username}\n`);
} catch (error) {
  if (!(error instanceof LatchkeyError)) throw error;
  process.stdout.write(`${error.code}: ${error.message}\n${error.hint}\n`);
}
// The library's log has no end of its own.
if (process.env.LATCHKEY_MSALRUNTIME_LOG) process.exit();
