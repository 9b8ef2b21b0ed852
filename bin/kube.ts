/**
 * `latchkey kube`: a credential plugin of kubectl and of all that is made with client-go.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { mayReadEnvironment, readEnvironment } from "../lib/platform/host.ts";
import { write } from "../lib/platform/program.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { type ExecRequest, readExecInfo, writeExecCredential } from "./exec_credential.ts";
import { withLoginHint } from "./login_hint.ts";
import { acquireToken, interactiveOf, type Means } from "./token.ts";

const INFO = "KUBERNETES_EXEC_INFO";

/** Prints an `ExecCredential` with a token for a cluster. */
export async function printExecCredential(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const scopes = [`${serverIdOf(line)}/.default`], { apiVersion, isInteractive } = execRequest();
  const interactive = isInteractive === false ? "never" : interactiveOf(line);
  const asked: Means["asked"] = () => ({ scopes, forceRefresh: line.isOn("force-refresh") });
  try {
    write("stdout", writeExecCredential(apiVersion, await acquireToken(line, { interactive, signal, asked })));
  } catch (error) {
    throw withLoginHint(error, line, scopes);
  }
}

function serverIdOf(line: CommandLine): string {
  const id = line.text("server-id");
  if (id === undefined) {
    throw new UsageError(
      "--server-id is missing: the app that the cluster takes tokens for, 6dae42f8-4368-4678-94ff-3960e28e3630 for Azure " +
        "Kubernetes Service",
    );
  }
  if (/^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[a-z][a-z0-9+.-]*:\/\/[^\s,]+)$/i.test(id)) return id;
  throw new UsageError(`--server-id takes a GUID, or a URL such as api://contoso, not ${JSON.stringify(id)}`);
}

/** What the caller says. Without it a person could be asked who is not to be. */
function execRequest(): ExecRequest {
  if (!mayReadEnvironment(INFO)) {
    throw new LatchkeyError("missing_dependency", `Deno may not read ${INFO}, in which the caller says what it wants`, {
      hint: `Run deno with --allow-env=${INFO}`,
    });
  }
  return readExecInfo(readEnvironment(INFO));
}
