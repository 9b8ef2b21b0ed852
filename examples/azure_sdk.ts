// Reads a secret from Azure Key Vault as the signed-in person: azure_sdk.ts CLIENT_ID https://contoso.vault.azure.net SECRET
// deno-lint-ignore-file no-console -- an example prints
import { SecretClient } from "@azure/keyvault-secrets";
import { LatchkeyCredential } from "@latchkey/latchkey/azure";

const [clientId = "", vault = "", name = ""] = "Deno" in globalThis ? Deno.args : process.argv.slice(2);
if (!name) throw new Error("azure_sdk.ts CLIENT_ID VAULT SECRET");
const credential = new LatchkeyCredential({
  clientId,
  enableBrokerOnWindows: true,
  enableBrokerOnMac: true,
  enableBrokerOnLinux: true,
  enableBrokerOnWsl: true,
  onSignInAddress: ({ url }) => console.error(`Sign in at ${url}`), // without a broker
});
try {
  // Every client of Azure's SDKs takes the credential, and answers claims challenges with it.
  const { value } = await new SecretClient(vault, credential).getSecret(name);
  console.log(value);
} finally {
  await credential.close();
}
