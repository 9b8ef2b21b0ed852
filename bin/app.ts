/**
 * `latchkey app`.
 *
 * @module
 */
import { write } from "../lib/runtime/program.ts";
import { type RedirectUri, redirectUris, type SignInWay } from "../lib/authority.ts";
import { ArgumentError } from "../lib/errors.ts";
import { clientIdOf, isAtMicrosoft, wellKnownName } from "./cli/application.ts";
import { type CommandLine, UsageError } from "./cli/command_line.ts";
import { escapeForTerminal, jsonForTerminal } from "./cli/output.ts";

const WAYS: Readonly<Record<SignInWay, string>> = {
  windows: "Windows",
  wsl: "WSL",
  macos: "macOS",
  linux: "Linux",
  browser: "the browser, where there is no broker",
};

/** A registration, as far as it is known here. */
interface Registration {
  readonly clientId: string;
  readonly uris: readonly RedirectUri[];
  /** The authority that is not Microsoft's. */
  readonly elsewhere: string | undefined;
  /** The app's name, if it is one of Microsoft's own. */
  readonly name: string | undefined;
}

/** Prints what an app registration has to have so that people can sign in to the app everywhere, and how to add it. */
export function printRegistration(line: CommandLine): Promise<void> {
  const clientId = clientIdOf(line), uris = urisOf(line, clientId);
  const elsewhere = isAtMicrosoft(line) ? undefined : line.text("authority");
  const registration = { clientId, uris, elsewhere, name: elsewhere ? undefined : wellKnownName(clientId) };
  write("stdout", line.text("format") === "json" ? registrationJson(registration) : registrationText(registration));
  return Promise.resolve();
}

function urisOf(line: CommandLine, clientId: string): readonly RedirectUri[] {
  try {
    return redirectUris(clientId, { authority: line.text("authority"), redirectPath: line.text("redirect-path") });
  } catch (error) {
    throw error instanceof ArgumentError ? new UsageError(error.message) : error;
  }
}

function registrationJson({ clientId, uris, elsewhere, name }: Registration): string {
  return `${
    jsonForTerminal({
      client_id: clientId,
      redirect_uris: uris,
      public_client: true,
      owner: name === undefined ? "you" : "microsoft",
      ...(name === undefined && elsewhere === undefined && { az: azCommand(clientId, uris) }),
    })
  }\n`;
}

function registrationText({ clientId, uris, elsewhere, name }: Registration): string {
  if (name !== undefined) {
    return `${name} is an app of Microsoft's: its registration cannot be changed by you, and has what Microsoft gave it.
Where a redirect URI is missing (AADSTS50011), use an app registration of your own:
  az ad app create --display-name NAME --is-fallback-public-client true
  latchkey app --client-id ID
`;
  }
  if (elsewhere !== undefined) {
    return `Redirect URI for the app ${escapeForTerminal(clientId)} at ${escapeForTerminal(elsewhere)}:
${uris.map(({ uri }) => `  ${uri}\n`).join("")}
The provider has to take it with any port (RFC 8252, 7.3). If it does not, fix the port:
  register http://127.0.0.1:8400/... instead, with the same path, and sign in with --port 8400
To choose another path, give --redirect-path PATH here and at the sign-in; use a path for one provider only.
The app has to be a public (native) client, which has no secret.
`;
  }
  const width = Math.max(...uris.map(({ uri }) => uri.length));
  const rows = uris.map(({ uri, ways }) => `  ${uri.padEnd(width)}  ${ways.map((way) => WAYS[way]).join(", ")}\n`);
  return `Redirect URIs for the app registration ${clientId}:
${rows.join("")}
With Azure CLI. What is given takes the place of all that is there: add what the app has already.
  az ad app show --id ${clientId} --query publicClient.redirectUris
  ${azCommand(clientId, uris)}

In the portal: https://entra.microsoft.com, App registrations, the app, Authentication:
  Add a platform, Mobile and desktop applications: each of them as a custom redirect URI
  Advanced settings, Allow public client flows: Yes
`;
}

function azCommand(clientId: string, uris: readonly RedirectUri[]): string {
  return `az ad app update --id ${clientId} --is-fallback-public-client true ` +
    `--public-client-redirect-uris ${uris.map(({ uri }) => uri).join(" ")}`;
}
