// Azure's library for JavaScript, and MSAL for Node, in a container: client.mjs RESOURCE; prints what each got, as JSON.
import process from "node:process";
import { DefaultAzureCredential, ManagedIdentityCredential } from "@azure/identity";
import { ManagedIdentityApplication } from "@azure/msal-node";

const [, , resource] = process.argv, scope = `${resource}/.default`;
const outcomeOf = async (work) => {
  try {
    return await work();
  } catch (error) {
    return { error: error.message };
  }
};
const byCredential = (credential) => async () => {
  const { token, expiresOnTimestamp } = await credential.getToken(scope);
  return { token, expiresOn: Math.floor(expiresOnTimestamp / 1000) };
};

const outcomes = {
  ManagedIdentityCredential: await outcomeOf(byCredential(new ManagedIdentityCredential())),
  DefaultAzureCredential: await outcomeOf(byCredential(new DefaultAzureCredential())),
  ManagedIdentityApplication: await outcomeOf(async () => {
    const { accessToken, expiresOn } = await new ManagedIdentityApplication().acquireToken({ resource });
    return { token: accessToken, expiresOn: Math.floor(expiresOn.getTime() / 1000) };
  }),
};
process.stdout.write(JSON.stringify(outcomes));
process.exit(); // the libraries keep connections
