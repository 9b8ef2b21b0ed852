// Acquires a token by @azure/identity's AzureCliCredential, which runs az by cmd.exe. Exits with 3 if it is told to sign in.
import { AzureCliCredential } from "@azure/identity";
import process from "node:process";

try {
  const { token } = await new AzureCliCredential().getToken("https://graph.microsoft.com/.default");
  process.stdout.write(`${token}\n`);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = error.name === "CredentialUnavailableError" ? 3 : 1;
}
