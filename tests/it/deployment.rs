//! A small cloud of the images for Debian, started through their start contract on loopback ports:
//! a database, a cache, a message queue, keystone, and glance, used from kolla-toolbox. The
//! services are really used: the test checks keystone's token, glance's image, and the data that
//! they leave in the other services.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use crate::support::{Cleanup, Run, docker, free_ports, kiln, require_engine, wait_for};
use serde_json::{Value, json};

const PASSWORD: &str = "secret";

#[test]
fn built_images_from_packages_make_a_cloud() {
    a_cloud_works("binary");
}

#[test]
#[ignore = "builds from source take their time: part of make images"]
fn built_images_from_source_make_a_cloud() {
    a_cloud_works("source");
}

const IMAGES: &[&str] = &[
    "glance-api",
    "keystone",
    "keystone-fernet",
    "kolla-toolbox",
    "mariadb",
    "memcached",
    "rabbitmq",
];

fn a_cloud_works(install_type: &'static str) {
    require_engine();
    let cloud = Cloud::build(install_type, IMAGES);
    start_infrastructure(&cloud);
    start_keystone(&cloud);
    start_glance(&cloud);

    let queues = cloud.exec("rabbitmq", "rabbitmqctl --quiet list_queues name messages").stdout;
    let told = queues.lines().find_map(|line| line.strip_prefix("notifications.info\t"));
    assert!(told.is_some_and(|count| count != "0"), "keystone told nobody: {queues}");
    let statistics = ask(cloud.ports.cache, "stats\r\nquit\r\n");
    let cached = statistics.lines().find_map(|line| line.strip_prefix("STAT cmd_set "));
    assert!(cached.is_some_and(|count| count != "0"), "keystone cached nothing: {statistics}");
}

fn start_infrastructure(cloud: &Cloud) {
    let (mariadb, rabbitmq) = (mariadb(cloud), rabbitmq(cloud));
    cloud.once(&mariadb, &["KOLLA_BOOTSTRAP=1", &format!("DB_ROOT_PASSWORD={PASSWORD}")]);
    cloud.once(&rabbitmq, &["KOLLA_BOOTSTRAP=1"]);
    for service in [&mariadb, &rabbitmq, &memcached(cloud), &toolbox(cloud)] {
        cloud.start(service);
    }
    cloud.answers("mariadb", cloud.ports.database);
    cloud.make_database("keystone");
    cloud.make_database("glance");
    cloud.answers("memcached", cloud.ports.cache);
    cloud.answers("rabbitmq", cloud.ports.queue);
}

fn start_keystone(cloud: &Cloud) {
    let keystone = keystone(cloud);
    cloud.once(&keystone, &["KOLLA_BOOTSTRAP=1"]);
    cloud.once(&Service { image: "keystone-fernet", ..keystone.clone() }, &["KOLLA_BOOTSTRAP=1"]);
    cloud.start(&keystone);
    cloud.answers("keystone", cloud.ports.identity);
    let url = format!("http://127.0.0.1:{}/v3", cloud.ports.identity);
    let bootstrap = format!(
        "kolla_keystone_bootstrap admin {PASSWORD} admin admin {url} {url} {url} RegionOne"
    );
    let first = cloud.exec("keystone", &bootstrap).stdout;
    assert_eq!(first.trim(), r#"{"failed": false, "changed": true}"#);
    let second = cloud.exec("keystone", &bootstrap).stdout;
    assert_eq!(second.trim(), r#"{"failed": false, "changed": false}"#);

    let token = cloud.openstack("token issue");
    assert!(token["id"].as_str().unwrap().starts_with("gAAAA"), "no fernet token: {token}");
}

fn start_glance(cloud: &Cloud) {
    cloud.openstack("project create service");
    cloud.openstack(&format!("user create --password {PASSWORD} --project service glance"));
    cloud.toolbox("openstack role add --user glance --project service admin");
    cloud.openstack("service create --name glance image");
    let url = format!("http://127.0.0.1:{}", cloud.ports.image);
    cloud.openstack(&format!("endpoint create --region RegionOne image public {url}"));

    let glance = glance(cloud);
    cloud.once(&glance, &["KOLLA_BOOTSTRAP=1"]);
    cloud.start(&glance);
    cloud.answers("glance-api", cloud.ports.image);
    let made = cloud.openstack(
        "image create --disk-format raw --container-format bare --file /etc/hostname small",
    );
    let listed = cloud.openstack("image list");
    assert_eq!(listed[0], json!({"ID": made["id"], "Name": "small", "Status": "active"}));
    let stored = cloud.exec("glance-api", "ls /var/lib/glance/images").stdout;
    assert_eq!(stored.trim(), made["id"].as_str().unwrap());
}

// --- The services -----------------------------------------------------------

/// Settings of a container of an image.
#[derive(Clone)]
struct Service {
    image: &'static str,
    command: String,
    files: Vec<File>,
    /// Pairs of a volume, named after the service it belongs to, and its path.
    volumes: &'static [(&'static str, &'static str)],
    environment: Vec<String>,
}

/// Configuration file.
#[derive(Clone)]
struct File {
    dest: String,
    owner: &'static str,
    text: String,
}

fn file(dest: impl Into<String>, owner: &'static str, text: impl Into<String>) -> File {
    File { dest: dest.into(), owner, text: text.into() }
}

fn mariadb(cloud: &Cloud) -> Service {
    let settings = format!(
        "[mariadbd]\nbind-address = 127.0.0.1\nport = {}\ndatadir = /var/lib/mysql\n",
        cloud.ports.database
    );
    Service {
        image: "mariadb",
        command: "mariadbd --defaults-file=/etc/mysql/my.cnf".into(),
        files: vec![file("/etc/mysql/my.cnf", "mysql", settings)],
        volumes: &[("mariadb", "/var/lib/mysql")],
        environment: vec![],
    }
}

fn memcached(cloud: &Cloud) -> Service {
    Service {
        image: "memcached",
        command: format!("memcached -l 127.0.0.1 -p {}", cloud.ports.cache),
        files: vec![],
        volumes: &[],
        environment: vec![],
    }
}

fn rabbitmq(cloud: &Cloud) -> Service {
    let ports = &cloud.ports;
    let settings = format!(
        "listeners.tcp.local = 127.0.0.1:{}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\n",
        ports.queue, ports.queue_management
    );
    let environment = format!(
        "NODENAME=rabbit@localhost\nRABBITMQ_DIST_PORT={}\n\
         export ERL_EPMD_PORT={}\nexport ERL_EPMD_ADDRESS=127.0.0.1\n\
         RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {{127,0,0,1}}'\n",
        ports.queue_cluster, ports.queue_names
    );
    Service {
        image: "rabbitmq",
        command: "rabbitmq-server".into(),
        files: vec![
            file("/etc/rabbitmq/rabbitmq.conf", "rabbitmq", settings),
            file("/etc/rabbitmq/rabbitmq-env.conf", "rabbitmq", environment),
        ],
        volumes: &[("rabbitmq", "/var/lib/rabbitmq")],
        environment: vec!["RABBITMQ_CLUSTER_COOKIE=cookie".into()],
    }
}

/// Returns the toolbox, configured as a client with the cloud's administrator.
fn toolbox(cloud: &Cloud) -> Service {
    Service {
        image: "kolla-toolbox",
        command: "sleep infinity".into(),
        files: vec![],
        volumes: &[],
        environment: vec![
            format!("OS_AUTH_URL=http://127.0.0.1:{}/v3", cloud.ports.identity),
            format!("OS_PASSWORD={PASSWORD}"),
            "OS_USERNAME=admin".into(),
            "OS_PROJECT_NAME=admin".into(),
            "OS_USER_DOMAIN_ID=default".into(),
            "OS_PROJECT_DOMAIN_ID=default".into(),
            "OS_IDENTITY_API_VERSION=3".into(),
        ],
    }
}

fn keystone(cloud: &Cloud) -> Service {
    let settings = format!(
        "[DEFAULT]\nlog_dir = /var/log/kolla/keystone\nuse_stderr = true\nnotification_format = basic\n{}\
         [cache]\nenabled = true\nbackend = dogpile.cache.memcached\nmemcache_servers = 127.0.0.1:{}\n\
         [oslo_messaging_notifications]\ndriver = messagingv2\n\
         [token]\nprovider = fernet\n",
        cloud.transport_and_database("keystone"),
        cloud.ports.cache
    );
    let (python, scripts) = match cloud.install_type {
        "source" => (" python-home=/var/lib/kolla/venv", "/var/lib/kolla/venv/bin"),
        _ => ("", "/usr/bin"),
    };
    let port = cloud.ports.identity;
    let site = format!(
        "ServerName localhost\nListen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\n\
         WSGIDaemonProcess keystone processes=1 threads=2 user=keystone group=keystone{python}\n\
         WSGIProcessGroup keystone\nWSGIApplicationGroup %{{GLOBAL}}\nWSGIPassAuthorization On\n\
         WSGIScriptAlias / {scripts}/keystone-wsgi-public\n\
         ErrorLog /dev/stderr\n\
         <Directory {scripts}>\nRequire all granted\n</Directory>\n\
         </VirtualHost>\n"
    );
    Service {
        image: "keystone",
        command: "apache2 -DFOREGROUND".into(),
        files: vec![
            file("/etc/keystone/keystone.conf", "keystone", settings),
            file("/etc/apache2/sites-enabled/keystone.conf", "keystone", site),
        ],
        volumes: &[("fernet", "/etc/keystone/fernet-keys")],
        environment: vec![],
    }
}

fn glance(cloud: &Cloud) -> Service {
    let ports = &cloud.ports;
    let identity = format!("http://127.0.0.1:{}/v3", ports.identity);
    let settings = format!(
        "[DEFAULT]\nlog_dir = /var/log/kolla/glance\nuse_stderr = true\n\
         bind_host = 127.0.0.1\nbind_port = {}\nworkers = 1\nenabled_backends = local:file\n{}\
         [glance_store]\ndefault_backend = local\n\
         [local]\nfilesystem_store_datadir = /var/lib/glance/images\n\
         [os_glance_staging_store]\nfilesystem_store_datadir = /var/lib/glance/staging\n\
         [os_glance_tasks_store]\nfilesystem_store_datadir = /var/lib/glance/tasks\n\
         [paste_deploy]\nflavor = keystone\n\
         [keystone_authtoken]\nwww_authenticate_uri = {identity}\nauth_url = {identity}\n\
         memcached_servers = 127.0.0.1:{}\nauth_type = password\nusername = glance\npassword = {PASSWORD}\n\
         user_domain_id = default\nproject_name = service\nproject_domain_id = default\n",
        ports.image,
        cloud.transport_and_database("glance"),
        ports.cache
    );
    Service {
        image: "glance-api",
        command: "glance-api".into(),
        files: vec![file("/etc/glance/glance-api.conf", "glance", settings)],
        volumes: &[("glance", "/var/lib/glance")],
        environment: vec![],
    }
}

// --- The cloud --------------------------------------------------------------

struct Ports {
    database: u16,
    cache: u16,
    queue: u16,
    queue_management: u16,
    queue_cluster: u16,
    queue_names: u16,
    identity: u16,
    image: u16,
}

/// Containers of one test, which are removed with it, and their common settings.
struct Cloud {
    install_type: &'static str,
    name: String,
    folder: tempfile::TempDir,
    ports: Ports,
    _images: Cleanup,
}

impl Cloud {
    /// Builds the images.
    fn build(install_type: &'static str, images: &[&str]) -> Self {
        let name = format!("kiln-test-cloud-{install_type}-{}", std::process::id());
        let images: Vec<String> = images.iter().map(|image| format!("^{image}$")).collect();
        let mut command = kiln();
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--nopull", "--tag", "t"]);
        command.args(["-b", "debian", "-t", install_type, "-n", &name]).args(images);
        Run::of(command).expect(0);
        let [database, cache, queue, queue_management, queue_cluster, queue_names, identity, image] =
            free_ports();
        Self {
            install_type,
            _images: Cleanup::new(name.clone()),
            name,
            folder: tempfile::tempdir().unwrap(),
            ports: Ports {
                database,
                cache,
                queue,
                queue_management,
                queue_cluster,
                queue_names,
                identity,
                image,
            },
        }
    }

    /// Runs a service that ends by itself, with these environment variables.
    fn once(&self, service: &Service, environment: &[&str]) {
        self.run(service, &format!("{}-once", service.image), &["--rm"], environment);
    }

    /// Starts a service in the background.
    fn start(&self, service: &Service) {
        self.run(service, service.image, &["--detach"], &[]);
    }

    fn run(&self, service: &Service, name: &str, options: &[&str], environment: &[&str]) {
        let folder = self.folder.path().join(name);
        write_configuration(service, &folder);
        let name = self.container(name);
        let mut arguments =
            ["run", "--network", "host", "--name", &name].map(str::to_owned).to_vec();
        arguments.extend(options.iter().map(|&option| option.to_owned()));
        let strategy = "KOLLA_CONFIG_STRATEGY=COPY_ALWAYS";
        let own = service.environment.iter().map(String::as_str);
        for variable in [strategy].into_iter().chain(own).chain(environment.iter().copied()) {
            arguments.extend(["--env".to_owned(), variable.to_owned()]);
        }
        let folder = format!("{}:/var/lib/kolla/config_files:ro", folder.display());
        arguments.extend(["--volume".to_owned(), folder]);
        for (volume, place) in service.volumes {
            arguments.extend(["--volume".to_owned(), format!("{}-{volume}:{place}", self.name)]);
        }
        arguments.push(format!("{}/debian-{}-{}:t", self.name, self.install_type, service.image));
        docker(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).expect(0);
    }

    fn container(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// Waits until a service listens on its port.
    fn answers(&self, name: &str, port: u16) {
        let what = format!("{name} on port {port}");
        wait_for(&what, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    /// Runs a command, which is split at blanks, in the container of a service.
    fn exec(&self, name: &str, command: &str) -> Run {
        let container = self.container(name);
        let command: Vec<&str> = command.split_whitespace().collect();
        docker(&[["exec", &container].as_slice(), &command].concat()).expect(0)
    }

    /// Runs a command in the toolbox.
    fn toolbox(&self, command: &str) -> Run {
        self.exec("kolla-toolbox", command)
    }

    /// Runs a command of the client as administrator of the cloud, and returns its JSON.
    fn openstack(&self, command: &str) -> Value {
        let run = self.toolbox(&format!("openstack {command} --format json"));
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"))
    }

    /// Creates the database of a service by Ansible, with a user of the same name.
    fn make_database(&self, service: &str) {
        let login = format!(
            "login_host=127.0.0.1 login_port={} login_user=root login_password={PASSWORD} name={service}",
            self.ports.database
        );
        let user = format!("{login} password={PASSWORD} host=% priv={service}.*:ALL");
        let container = self.container("kolla-toolbox");
        for (module, arguments) in [("mysql_db", &login), ("mysql_user", &user)] {
            let module = format!("community.mysql.{module}");
            let ansible = ["ansible", "localhost", "-m", &module, "-a", arguments];
            let run = docker(&[["exec", &container].as_slice(), &ansible].concat()).expect(0);
            assert!(run.stdout.contains("CHANGED"), "{run:?}");
        }
    }

    /// Returns the settings for the queue and the database of a service.
    fn transport_and_database(&self, service: &str) -> String {
        format!(
            "transport_url = rabbit://guest:guest@127.0.0.1:{}/\n\
             [database]\nconnection = mysql+pymysql://{service}:{PASSWORD}@127.0.0.1:{}/{service}\n",
            self.ports.queue, self.ports.database
        )
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let filter = format!("name={}", self.name);
        let containers =
            docker(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"]).stdout;
        for name in containers.lines() {
            if std::thread::panicking() {
                let logs = docker(&["logs", "--tail", "60", name]);
                eprintln!("=== {name}\n{}{}", logs.stdout, logs.stderr);
            }
            docker(&["rm", "--force", name]);
        }
        let volumes = docker(&["volume", "ls", "--quiet", "--filter", &filter]).stdout;
        for name in volumes.lines() {
            docker(&["volume", "rm", "--force", name]);
        }
    }
}

/// Writes `config.json` and the files that it names.
fn write_configuration(service: &Service, folder: &Path) {
    fs::create_dir(folder).unwrap();
    let mut entries = Vec::new();
    for (index, file) in service.files.iter().enumerate() {
        let name = format!("{index}.conf");
        fs::write(folder.join(&name), &file.text).unwrap();
        let source = format!("/var/lib/kolla/config_files/{name}");
        entries.push(
            json!({"source": source, "dest": file.dest, "owner": file.owner, "perm": "0600"}),
        );
    }
    let permissions: Vec<Value> = match service.files.first() {
        Some(File { owner, .. }) => service
            .volumes
            .iter()
            .map(|(_, place)| json!({"path": place, "owner": format!("{owner}:{owner}"), "recurse": true}))
            .collect(),
        None => Vec::new(),
    };
    let config =
        json!({"command": service.command, "config_files": entries, "permissions": permissions});
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

/// Sends a request to a server on a loopback port, and returns the whole answer.
fn ask(port: u16, question: &str) -> String {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    connection.write_all(question.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}
